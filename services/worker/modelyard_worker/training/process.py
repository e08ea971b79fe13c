"""One process of a training job: a rank or the control process, from its start, which is at once, to its end."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from modelyard import process
from modelyard.jobs.gang import CONTROL, RANKS
from modelyard.session import TTL_S
from modelyard.tasks import stop_on_failure
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.training import scratch, started
from modelyard_worker.training.deaths import NOT_STARTED, End
from modelyard_worker.training.launch import Launch

log = logging.getLogger(__name__)

COMMANDS = {
    RANKS: (sys.executable, "-m", "modelyard_worker.trainer"),
    CONTROL: (sys.executable, "-m", "modelyard.train.control"),
}
START_TIMEOUT_S = 120.0
SILENCE_S = 5.0
"""A process that says nothing for so long is stopped or stuck: it is killed and replaced."""
GRACE_S = 4.0
DONE = process.describe_exit(0)
"""How a process ends that has done its part."""


@dataclass(frozen=True)
class TrainingSettings:
    """What all processes of training on a worker share.

    Attributes:
        worker: its name.
        advertise: the host under which others reach them.
        etcd: endpoints, host:port.
        logs: where they print.
        directory: below which each has a directory of its own.
        registries: the live replicas of now, host:port.
        allows_code: whether this worker runs users' code.
        environ: what they get; our own settings are not among it.
        gpus: names of those that ranks run on.
        commands: how the command line of a process begins, by the format of its placement.
        lease_s: so long a control process that is silent is still its job's.
    """

    worker: str
    advertise: str
    etcd: str
    logs: RunnerLogs
    directory: Path
    registries: Callable[[], Iterable[str]]
    allows_code: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: COMMANDS)
    lease_s: int = TTL_S


class TrainingProcess:
    """A process that is told what to do by lines on its standard input."""

    def __init__(self, name: str, launch: Launch, settings: TrainingSettings) -> None:
        """`name`: of its log."""
        self._name = name
        self._launch = launch
        self._settings = settings
        self._orders: asyncio.Queue[bytes] = asyncio.Queue()
        self._child: process.Child | None = None
        self._told = b""
        self.ready = asyncio.Event()
        """Set when it has begun as it should."""
        self._reason = ""
        self._is_silent = False
        self.life = asyncio.ensure_future(self._live())
        """Done when the process has ended; its result says how."""
        self.life.add_done_callback(stop_on_failure)

    def tell(self, order: bytes) -> None:
        """Give it an order, a line, unless it is the last one, or none."""
        if order not in {b"", self._told}:
            self._told = order
            self._orders.put_nowait(order)

    def memory_bytes(self) -> int:
        """What the process holds of the machine's memory; 0 if it has ended."""
        try:
            return int(psutil.Process(self._child.pid).memory_info().rss) if self._child else 0
        except psutil.Error:
            return 0

    async def stop(self) -> None:
        """End it in good order, or at once after GRACE_S."""
        if self._child is not None:
            await self._child.stop(GRACE_S)
        else:
            self.life.cancel()
        await asyncio.wait([self.life])

    async def _live(self) -> End:
        directory = scratch.made(Path(self._launch.scratch))
        try:
            status = await self._run()
            stacks = "" if status == DONE else scratch.stacks(directory, self._launch.code)
            return End(status, self._reason, stacks, self._is_silent)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _run(self) -> str:
        settings, launch = self._settings, self._launch
        try:
            with settings.logs.open(self._name) as output:
                environ = {**launch.environment(settings.environ), started.MARK: launch.scratch}
                child = await process.start(launch.command, environ, output, launch.scratch, orders=True)
        except OSError as error:
            self._reason = str(error)
            return NOT_STARTED
        self._child = child
        log.info("training process started", extra={"instance": self._name, "child": child.pid})
        others = [asyncio.ensure_future(self._tell(child)), asyncio.ensure_future(_sweep(child, launch.scratch))]
        try:
            ended = await self._follow(child)
        finally:
            others[0].cancel()
            child.signal(signal.SIGKILL)
            await asyncio.wait(others)
        log.info("training process ended", extra={"instance": self._name, "child": child.pid, "reason": ended})
        return ended

    async def _tell(self, child: process.Child) -> None:
        while True:
            await child.order(await self._orders.get())

    async def _follow(self, child: process.Child) -> str:
        try:
            async for report in child.heard(START_TIMEOUT_S, SILENCE_S):
                if report["state"] == "ready":
                    self.ready.set()
                elif report["state"] == "failed":
                    self._reason = report["reason"]
        except process.SilentError as error:
            self._is_silent = True
            return f"{error} and was killed"
        return await child.ended(SILENCE_S)


async def _sweep(child: process.Child, mark: str) -> None:
    """End what it has started as soon as it has ended itself: that may have its report pipe, too."""
    await child.wait()
    child.end_group()
    await asyncio.to_thread(started.end, mark)
