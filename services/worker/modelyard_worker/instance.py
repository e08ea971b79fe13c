"""One placement made real: pull, start a runner, announce, watch over it, start it anew when it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from modelyard import codec, process
from modelyard.backoff import Backoff
from modelyard.catalogue import Signature
from modelyard.config import without_settings
from modelyard.deployment import Instance, InstanceState, Placement
from modelyard.errors import ModelyardError, UnavailableError
from modelyard_worker.cache import ArtifactCache

log = logging.getLogger(__name__)

SILENCE_S = 5.0
"""A runner that says nothing for so long is stopped or stuck: it is killed and replaced."""
LOOKS = 5
"""Silence is measured in so many parts, so that a pause of this very process does not count as the runner's."""
GRACE_S = 10.0
LOAD_TIMEOUT_S = 600.0
MAX_REASON = 2000
"""Characters of a reason; an engine's message may have any length."""
LONG_LIFE_S = 30.0
"""A runner that lived so long was well: its next failure is counted as the first."""


@dataclass(frozen=True)
class RunnerSettings:
    """What all runners of a worker share."""

    worker: str
    host: str
    advertise: str
    threads: int
    log_directory: Path


class RunnerFailedError(Exception):
    """A runner could not load its model, or ended; `loaded` says which."""

    def __init__(self, reason: str, *, loaded: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.loaded = loaded


class InstanceKeeper:
    """Keeps one placement running until it is told to unload."""

    def __init__(
        self,
        placement: Placement,
        settings: RunnerSettings,
        cache: ArtifactCache,
        announce: Callable[[Instance], Awaitable[None]],
    ) -> None:
        self._placement = placement
        self._settings = settings
        self._cache = cache
        self._announce = announce
        self._child: process.Child | None = None

    @property
    def placement(self) -> Placement:
        """What is kept."""
        return self._placement

    async def run(self) -> None:
        """Load, watch over and restart, until cancelled."""
        backoff = Backoff(0.25, 30.0)
        await self._say(InstanceState.LOADING)
        while True:
            started_s = asyncio.get_running_loop().time()
            try:
                await self._run_once()
            except RunnerFailedError as error:
                state = InstanceState.LOADING if error.loaded else InstanceState.FAILED
                await self._say(state, f"{error.reason}; starting anew")
            except UnavailableError as error:
                await self._say(InstanceState.LOADING, error.message)
            except (ModelyardError, OSError) as error:
                await self._say(InstanceState.FAILED, str(error))
            except Exception as error:  # a bug of ours takes one model, not the worker
                log.exception("unforeseen error", extra={"model": self._placement.model})
                reason = f"internal error: {type(error).__name__}; the worker's log has its stack"
                await self._say(InstanceState.FAILED, reason)
            if asyncio.get_running_loop().time() - started_s > LONG_LIFE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def unload(self) -> None:
        """Take the instance out of routing, then end its runner in good order."""
        await self._say(InstanceState.UNLOADING)
        if self._child is not None:
            await self._child.stop(GRACE_S)

    async def _run_once(self) -> None:
        directory = await self._cache.path(self._placement.manifest_digest)
        self._child = child = await self._start(directory)
        try:
            ready = await self._await_ready(child)
            await self._say_ready(ready)
            raise RunnerFailedError(await self._watch(child), loaded=True)
        except Exception:  # on cancellation it is left to `unload`, which ends it in good order
            await _kill(child)
            raise

    async def _start(self, directory: Path) -> process.Child:
        settings, placement = self._settings, self._placement
        instance = f"{placement.model}@{placement.version}"
        command = [sys.executable, "-m", "modelyard_worker.runner", "--instance", instance]
        command += ["--worker", settings.worker, "--format", placement.format, "--directory", str(directory)]
        command += ["--host", settings.host, "--threads", str(settings.threads)]
        settings.log_directory.mkdir(parents=True, exist_ok=True)
        environ = without_settings(os.environ)
        with (settings.log_directory / f"{instance}.log").open("ab") as output:
            starting = asyncio.ensure_future(process.start(command, environ, output))
            try:
                return await asyncio.shield(starting)
            except asyncio.CancelledError:
                await _kill(await starting)  # nobody would know of it
                raise

    async def _await_ready(self, child: process.Child) -> dict[str, str]:
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                async for report in child.reports():
                    if report["state"] == "ready":
                        return report
                    if report["state"] == "failed":
                        raise RunnerFailedError(f"load failed: {report['reason']}", loaded=False)
        except TimeoutError:
            raise RunnerFailedError(f"not loaded within {LOAD_TIMEOUT_S:g} s", loaded=False) from None
        raise RunnerFailedError(f"the runner ended while it loaded the model: {await _end(child)}", loaded=False)

    async def _watch(self, child: process.Child) -> str:
        """Return why the runner is to be replaced, once it is."""
        silent, reports = 0, child.reports()
        while silent < LOOKS:
            try:
                # Not wait_for: before Python 3.12 it drops a cancellation that comes together with a beat.
                async with asyncio.timeout(SILENCE_S / LOOKS):
                    await anext(reports)
                silent = 0
            except StopAsyncIteration:
                return f"the runner ended: {await _end(child)}"
            except TimeoutError:
                silent, reports = silent + 1, child.reports()
        return f"the runner was silent for {SILENCE_S:g} s and was killed"

    async def _say_ready(self, ready: dict[str, str]) -> None:
        port = ready["address"].rpartition(":")[2]
        signature = codec.decode(Signature, ready["signature"].encode())
        log.info("instance ready", extra={"model": self._placement.model, "version": self._placement.version})
        await self._announce(
            self._instance(
                InstanceState.READY,
                endpoint=f"{self._settings.advertise}:{port}",
                signature=signature,
                platform=ready["platform"],
            )
        )

    async def _say(self, state: InstanceState, reason: str = "") -> None:
        reason = reason[:MAX_REASON]
        if reason:
            facts = {"model": self._placement.model, "version": self._placement.version, "reason": reason}
            log.warning("instance not ready", extra=facts)
        await self._announce(self._instance(state, reason))

    def _instance(
        self,
        state: InstanceState,
        reason: str = "",
        endpoint: str = "",
        signature: Signature | None = None,
        platform: str = "",
    ) -> Instance:
        placement = self._placement
        return Instance(
            placement.model,
            placement.version,
            self._settings.worker,
            state,
            reason,
            endpoint,
            signature or Signature(),
            platform,
        )


async def _kill(child: process.Child) -> int:
    child.signal(signal.SIGKILL)
    return await child.wait()


async def _end(child: process.Child) -> str:
    """How a child ended that has closed its pipe; one that only closed the pipe is ended."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return process.describe_exit(await child.wait())
    except TimeoutError:
        await _kill(child)
        return "it closed its report pipe and was killed"
