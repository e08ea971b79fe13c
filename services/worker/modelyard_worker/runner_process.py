"""One runner process, from its start to its end: it says where it listens, then beats; silent, it is killed."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from modelyard import process
from modelyard.backoff import Backoff
from modelyard.deployment import Placement
from modelyard.errors import DeadlineError, ModelyardError, NotFoundError, UnavailableError
from modelyard_worker import runner_client
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.runner_client import Loaded

log = logging.getLogger(__name__)

SILENCE_S = 5.0
"""A runner that says nothing for so long is stopped or stuck: it is killed and replaced."""
START_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 600.0
GRACE_S = 10.0
UNLOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RunnerSettings:
    """What all runners of a worker share.

    Attributes:
        host: where they listen.
        advertise: the host under which others reach them.
        cores: threads of an instance whose options name none.
        environ: what they get; our own settings are not among it.
        gpus: names of those that instances are loaded onto.
    """

    host: str
    advertise: str
    cores: int
    logs: RunnerLogs
    environ: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()


class RunnerFailedError(Exception):
    """A runner could not load a model, or ended.

    Attributes:
        loaded: whether the model had been loaded by then.
        blamed: whether the process ended because it loaded this very model.
        of_jobs: whether it may have ended of what it executed for jobs: their queue counts that.
    """

    def __init__(self, reason: str, *, loaded: bool = False, blamed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.loaded = loaded
        self.blamed = blamed
        self.of_jobs = False


class RunnerProcess:
    """A runner. It starts at once; several instances may be in it."""

    def __init__(self, name: str, settings: RunnerSettings) -> None:
        self.name = name
        self.instances: set[str] = set()
        """What is in it, or on its way in or out."""
        self.seats = 0
        """How many instances it is kept for."""
        self.loads = ""
        """The instance that it loads just now; '' while it loads none."""
        self._settings = settings
        self._child: asyncio.Future[process.Child] = asyncio.get_running_loop().create_future()
        self._address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._loading = asyncio.Lock()
        self.life = asyncio.ensure_future(self._live())
        """Done when the process has ended; its result says how."""

    @property
    def pid(self) -> int:
        """The process id; 0 before it has been started."""
        return self._child.result().pid if self._child.done() else 0

    @property
    def silent_s(self) -> float:
        """Seconds since its last heartbeat; without end if it has ended, or was not started yet."""
        return self._child.result().silent_s if self._child.done() and not self.life.done() else math.inf

    def endpoint(self, address: str) -> str:
        """Where others reach what listens at an address of ours."""
        return f"{self._settings.advertise}:{address.rpartition(':')[2]}"

    async def load(self, placement: Placement, directory: Path) -> tuple[str, Loaded]:
        """Load an instance; return the runner's endpoint and what it says of the instance.

        One after the other: whoever is being loaded when the process dies is to blame for that.

        Raises:
            RunnerFailedError: it failed, or the process has ended.
        """
        async with self._loading:
            address = await self._ready()
            self.loads = f"{placement.model}@{placement.version}"
            try:
                return self.endpoint(address), await runner_client.load(address, placement, directory, LOAD_TIMEOUT_S)
            except (UnavailableError, DeadlineError) as error:
                raise await self._lost(error) from error
            except ModelyardError as error:
                raise RunnerFailedError(f"load failed: {error.message}") from error
            finally:
                self.loads = ""

    async def _ready(self) -> str:
        """Return the runner's address, once it is known."""
        await asyncio.wait([self._address, self.life], return_when=asyncio.FIRST_COMPLETED)
        if self.life.done():
            what = "ended" if self._address.done() else "did not start"
            raise RunnerFailedError(f"the runner {what}: {self.life.result()}")
        return self._address.result()

    async def _lost(self, error: ModelyardError) -> RunnerFailedError:
        """Why the runner did not answer: it has ended, or it is ended now."""
        await asyncio.wait([self.life], timeout=SILENCE_S)
        if self.life.done():
            reason = f"the runner ended while it loaded the model: {self.life.result()}"
        else:
            await self.kill()
            reason = f"the runner was killed while it loaded the model, because it did not answer: {error.message}"
        return RunnerFailedError(reason, blamed=True)

    async def unload(self, instance: str) -> None:
        """Have the runner finish an instance's calls and give its memory back; the others in it are not disturbed.

        It is told again until it has done so, or has ended. So long the name stays taken here: whoever loads it again
        gets another process.
        """
        backoff = Backoff(0.5, 30.0)
        while not self.life.done():
            try:
                await runner_client.unload(await self._ready(), instance, UNLOAD_TIMEOUT_S)
                break
            except (RunnerFailedError, NotFoundError):
                break  # it has ended, and with it all that was in it; or an earlier attempt has succeeded
            except ModelyardError as error:
                log.error("unload failed", extra={"instance": instance, "runner": self.name, "reason": error.message})
            await asyncio.wait([self.life], timeout=backoff.next())
        self.instances.discard(instance)

    def memory_bytes(self) -> int:
        """What the process holds of the machine's memory; 0 if it has ended."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        except psutil.Error:
            return 0

    async def stop(self) -> None:
        """End it in good order: it finishes what is under way."""
        if child := await self._started():
            await child.stop(GRACE_S)
        await asyncio.wait([self.life])

    async def kill(self) -> None:
        """End it at once."""
        if child := await self._started():
            child.signal(signal.SIGKILL)
        await asyncio.wait([self.life])

    async def _started(self) -> process.Child | None:
        """The process, once it has been started; None if it could not be."""
        waits: list[asyncio.Future[Any]] = [self._child, self.life]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return self._child.result() if self._child.done() else None

    async def _live(self) -> str:
        """Start it, follow it to its end, and return how that was."""
        settings = self._settings
        command = [sys.executable, "-m", "modelyard_worker.runner", "--name", self.name]
        command += ["--host", settings.host, "--cores", str(settings.cores)]
        try:
            with settings.logs.open(self.name) as output:
                child = await process.start(command, settings.environ, output)
        except OSError as error:
            return str(error)
        self._child.set_result(child)
        log.info("runner started", extra={"runner": self.name, "child": child.pid})
        try:
            ended = await self._follow(child)
        finally:
            child.signal(signal.SIGKILL)
            await child.wait()
        log.info("runner ended", extra={"runner": self.name, "child": child.pid, "reason": ended})
        return ended

    async def _follow(self, child: process.Child) -> str:
        try:
            async for report in child.heard(START_TIMEOUT_S, SILENCE_S):
                if report["state"] == "ready":
                    self._address.set_result(report["address"])
        except process.SilentError as error:
            return f"{error} and was killed"
        return await child.ended(SILENCE_S)
