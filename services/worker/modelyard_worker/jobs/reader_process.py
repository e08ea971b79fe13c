"""The reader process of one instance: started when it is needed, ended when it is idle, started anew when it died."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard import codec, process
from modelyard.tasks import stop_on_failure
from modelyard_worker.jobs.assignment import Begin, Drop, Executed, Failed, Lost, Order, Registries, Report, Undone

log = logging.getLogger(__name__)

Ending = Executed | Failed | Lost | Undone
COMMAND = (sys.executable, "-m", "modelyard_worker.jobs.reader")
START_TIMEOUT_S = 60.0
SILENCE_S = 5.0
"""A reader that says nothing for so long is stopped or stuck: it is killed."""
IDLE_S = 60.0


@dataclass(frozen=True)
class ReaderSettings:
    """What all readers of a worker share.

    Attributes:
        environ: what they get; our own settings are not among it.
        registries: the live replicas of now, host:port.
        idle_s: one that has had nothing to do for so long is ended.
    """

    environ: Mapping[str, str]
    registries: Callable[[], Iterable[str]]
    command: Sequence[str] = COMMAND
    idle_s: float = IDLE_S


class ReaderLostError(Exception):
    """A reader process has ended under an attempt.

    Attributes:
        begun: whether it may have been of the rows that it read; if not, it ended before it could read any.
    """

    def __init__(self, reason: str, *, begun: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.begun = begun


class ReaderProcess:
    """One process, from its start, which is at once, to its end."""

    def __init__(self, instance: str, settings: ReaderSettings) -> None:
        self._instance = instance
        self._settings = settings
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._attempts: dict[str, asyncio.Future[Ending]] = {}
        self._has_started = False
        self.announce()
        self.life = asyncio.ensure_future(self._live())
        """Done when it has ended."""
        self.life.add_done_callback(stop_on_failure)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._attempts

    def announce(self) -> None:
        """Tell it which registries are live now."""
        self._orders.put_nowait(Order(registries=Registries(tuple(self._settings.registries()))))

    async def execute(self, begin: Begin) -> Ending:
        """Have a task executed, and return what it reports; who is cancelled meanwhile has it dropped.

        Raises:
            ReaderLostError: the process ended before it did.
        """
        attempt: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._attempts[begin.token] = attempt
        self._orders.put_nowait(Order(begin=begin))
        try:
            return await attempt
        finally:
            if self._attempts.pop(begin.token, None) is not None:
                self._orders.put_nowait(Order(drop=Drop(begin.token)))

    async def stop(self) -> None:
        """End it at once: call it when it is idle."""
        self.life.cancel()
        await asyncio.wait([self.life])

    async def _live(self) -> None:
        ended = "it was stopped"
        try:
            ended = await self._run()
            log.info("reader ended", extra={"instance": self._instance, "reason": ended})
        finally:
            attempts, self._attempts = self._attempts, {}
            for attempt in attempts.values():
                if not attempt.done():
                    reason = f"the reader process ended: {ended}"
                    attempt.set_exception(ReaderLostError(reason, begun=self._has_started))

    async def _run(self) -> str:
        try:
            child = await process.start(self._settings.command, self._settings.environ, None, orders=True)
        except OSError as error:
            return str(error)
        log.info("reader started", extra={"instance": self._instance, "child": child.pid})
        telling = asyncio.ensure_future(self._tell(child))
        try:
            return await self._follow(child)
        finally:
            telling.cancel()
            child.signal(signal.SIGKILL)
            await asyncio.wait([telling, asyncio.ensure_future(child.wait())])

    async def _tell(self, child: process.Child) -> None:
        while True:
            await child.order(codec.encode(await self._orders.get()))

    async def _follow(self, child: process.Child) -> str:
        try:
            async for line in child.heard(START_TIMEOUT_S, SILENCE_S):
                self._has_started = True
                self._take(line)
        except process.SilentError as error:
            return f"{error} and was killed"
        except codec.MalformedError as error:
            return f"it said what is no report and was killed: {error}"
        return await child.ended(SILENCE_S)

    def _take(self, line: dict[str, Any]) -> None:
        report = codec.of_json(Report, line)
        said = report.executed or report.failed or report.lost or report.undone
        attempt = self._attempts.pop(said.token, None) if said else None
        if attempt is not None and said is not None and not attempt.done():
            attempt.set_result(said)


class Reader:
    """The reader of one instance."""

    def __init__(self, instance: str, settings: ReaderSettings) -> None:
        self._instance = instance
        self._settings = settings
        self._process: ReaderProcess | None = None
        self._ends: asyncio.TimerHandle | None = None

    async def execute(self, begin: Begin) -> Ending:
        """As ReaderProcess.execute; it is started if it does not run."""
        running = self._running() or ReaderProcess(self._instance, self._settings)
        self._process = running
        try:
            return await running.execute(begin)
        finally:
            self._end_later(running)

    def _end_later(self, running: ReaderProcess) -> None:
        if self._ends is not None:
            self._ends.cancel()
        self._ends = asyncio.get_running_loop().call_later(self._settings.idle_s, self._end_if_idle, running)

    def _end_if_idle(self, running: ReaderProcess) -> None:
        if running.is_idle:
            self._process = None if self._process is running else self._process
            running.life.cancel()

    def _running(self) -> ReaderProcess | None:
        if self._process is not None and self._process.life.done():
            self._process = None
        return self._process

    def announce(self) -> None:
        """Tell it, if it runs, which registries are live now."""
        if running := self._running():
            running.announce()

    async def close(self) -> None:
        """End it: call it when nothing is executed any more."""
        if self._ends is not None:
            self._ends.cancel()
        if running := self._running():
            await running.stop()
