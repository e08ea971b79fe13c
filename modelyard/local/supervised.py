"""One process that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard import process
from modelyard.backoff import Backoff
from modelyard.local import kernel
from modelyard.local.state import ProcessStatus, State

log = logging.getLogger(__name__)

STEADY_S = 10.0
"""Who lived so long is restarted without the delay that earlier failures had earned."""
UNREADY_GRACE_S = 2.0
"""What was never ready has nothing to finish, and may wait for another that does not start."""
_WORDS_BYTES = 500


@dataclass(frozen=True)
class Program:
    """What is to run.

    `answers` returns once a program that knows nothing of us can be used; a service of ours reports it itself.
    """

    name: str
    command: list[str]
    log: Path
    address: str = ""
    answers: Callable[[], Awaitable[None]] | None = None
    grace_s: float = 10.0


class Supervised:
    """Keeps one program running until it is told to stop; `status` says how it is."""

    def __init__(self, program: Program, environ: Mapping[str, str], on_change: Callable[[], None]) -> None:
        """`on_change` is called after every change of `status`."""
        self.program = program
        self.status = ProcessStatus(program.name, address=program.address)
        self.failed_starts = 0
        self._environ = environ
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._child: process.Child | None = None

    async def run(self) -> None:
        """Start the program, and again whenever it ends, with back-off; return after `stop`."""
        backoff = Backoff(0.2, 10.0)
        while not self._stopping.is_set():
            began_s = time.monotonic()
            returncode = await self._live()
            if self._stopping.is_set():
                return
            if time.monotonic() - began_s >= STEADY_S:
                backoff.reset()
            self._note_end(returncode)
            await self._pause(backoff.next())

    def stop(self) -> None:
        """Have the program end: SIGTERM, and SIGKILL after its grace period."""
        self._stopping.set()

    def wake(self) -> None:
        """Let the program go on if a signal stopped it: others need it to end in order."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)

    async def _live(self) -> int:
        """One life of the program: from its start to its exit status."""
        with self.program.log.open("ab") as output:
            child = await process.start(self.program.command, self._environ, output)
        self._child = child
        found = kernel.find(child.pid)
        self._change(pid=child.pid, state=State.STARTING, start_ticks=found.start_ticks if found else 0)
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._watch(child)), tasks.create_task(self._stop(child))]
            returncode = await child.wait()
            for task in others:
                task.cancel()
        return returncode

    async def _stop(self, child: process.Child) -> None:
        await self._stopping.wait()
        grace_s = self.program.grace_s if self.status.state is State.READY else UNREADY_GRACE_S
        self._change(state=State.STOPPING)
        await child.stop(grace_s)

    async def _watch(self, child: process.Child) -> None:
        if self.program.answers is not None:
            await self.program.answers()
            self._note_ready(self.program.address)
        async for report in child.reports():
            if report.get("state") == "ready":
                self._note_ready(report["address"], report.get("metrics", ""))

    def _note_ready(self, address: str, metrics: str = "") -> None:
        self.failed_starts = 0
        self._change(state=State.READY, address=address, metrics=metrics)

    def _note_end(self, returncode: int) -> None:
        if self.status.state is State.STARTING:
            self.failed_starts += 1
        reason = process.describe_exit(returncode)
        if returncode > 0 and (words := self._last_words()):
            reason = f"{reason}: {words}"
        log.warning("process ended", extra={"child": self.program.name, "reason": reason})
        self._change(state=State.RESTARTING, restarts=self.status.restarts + 1, reason=reason)

    def _change(self, **facts: object) -> None:
        self.status = replace(self.status, **facts)  # type: ignore[arg-type]
        self._on_change()

    async def _pause(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _last_words(self) -> str:
        """The last line that the program printed, or its end."""
        with self.program.log.open("rb") as output:
            output.seek(max(0, self.program.log.stat().st_size - _WORDS_BYTES))
            lines = output.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
