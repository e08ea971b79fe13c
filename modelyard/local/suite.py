"""The running suite: everything started at once, kept running, stopped in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelyard.errors import UnavailableError
from modelyard.local.plan import STOP_ORDER, role
from modelyard.local.state import Layout, State, Status
from modelyard.local.supervised import Program, Supervised

log = logging.getLogger(__name__)

START_TIMEOUT_S = 60.0
START_ATTEMPTS = 3
"""A program that ended so often before it was ever ready will not do better."""


class Suite:
    """The processes of one directory."""

    def __init__(self, programs: Sequence[Program], layout: Layout, environ: Mapping[str, str], blank: Status) -> None:
        """`environ` is what the processes get; `blank`: the status, without processes."""
        self._layout = layout
        self._blank = blank
        self._changed = asyncio.Event()
        self._processes = [Supervised(program, environ, self._note_change) for program in programs]

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Run until `stop` is set; then stop everything in order.

        Raises:
            UnavailableError: a process does not start; the message says which and why.
        """
        self._note_change()
        tasks = {p: asyncio.create_task(p.run()) for p in self._processes}
        try:
            await _first(self._all_ready(), stop.wait(), *tasks.values())
            if not stop.is_set():
                on_ready()
            await _first(stop.wait(), *tasks.values())
        finally:
            await self._stop(tasks)

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while any(p.status.state is not State.READY for p in self._processes):
                    self._check_starts()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            late = [p for p in self._processes if p.status.state is not State.READY]
            names = ", ".join(p.program.name for p in late)
            raise UnavailableError(
                f"not ready after {START_TIMEOUT_S:.0f} s: {names}; see {late[0].program.log}"
            ) from None

    def _check_starts(self) -> None:
        for process in self._processes:
            if process.failed_starts >= START_ATTEMPTS:
                name, reason = process.program.name, process.status.reason
                raise UnavailableError(f"{name} does not start: {reason} (its log: {process.program.log})")

    async def _stop(self, tasks: Mapping[Supervised, asyncio.Task[None]]) -> None:
        for process in self._processes:
            process.wake()
        for name in STOP_ORDER:
            group = [p for p in self._processes if role(p.program.name) == name]
            for process in group:
                process.stop()
            await asyncio.gather(*(tasks[p] for p in group), return_exceptions=True)  # `run` raised the first
            log.info("stopped", extra={"role": name})

    def _note_change(self) -> None:
        self._changed.set()
        status = replace(self._blank, processes=tuple(p.status for p in self._processes))
        try:
            self._layout.write(status)
        except OSError as error:  # the suite is worth more than the note on it
            log.error("cannot write the state", extra={"reason": str(error)})


async def _first(*waits: Coroutine[Any, Any, Any] | asyncio.Task[None]) -> None:
    """Return when the first ends, or raise what it raises; cancel the coroutines among the others."""
    tasks = [asyncio.ensure_future(w) for w in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task, given in zip(tasks, waits, strict=True):
            if task is not given:
                task.cancel()
