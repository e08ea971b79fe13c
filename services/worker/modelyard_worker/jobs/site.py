"""An instance of this worker that is READY, as tasks of jobs see it: what executes their rows, and whether it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from modelyard.backoff import Backoff
from modelyard_worker.jobs.assignment import Target
from modelyard_worker.jobs.reader_process import Reader

SLOTS = 2
"""Claims of an instance at most, so that the next rows are read while others execute."""
SILENCE_S = 2.0
"""A runner that has not beaten for so long gets no new claims, and those that it has are not kept for it."""
GRACE_S = 4.0
"""So long claims of an instance that is unloaded may go on; tasks take a few seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Runner(Protocol):
    """The process that has the instance."""

    @property
    def silent_s(self) -> float:
        """Seconds since its last heartbeat."""
        ...

    @property
    def instances(self) -> Collection[str]:
        """What is in it, each "model@version"."""
        ...

    async def kill(self) -> None:
        """End it at once, if it still lives."""
        ...


class Site:
    """Where claims of one instance are worked on.

    Attributes:
        works: what works on claims, one each.
        gone: done when none of them is left; None while more are begun.
        has_worked: whether it has worked on a claim to its end, whatever came of it.
        has_lost: whether rows were lost with the runner since then: it is dying, stopped or stuck.
    """

    def __init__(self, target: Target, runner: Runner, reader: Reader, on_change: Callable[[Site], None]) -> None:
        """`on_change`: called when it may take a claim again, and when it is gone."""
        self.target = target
        self.runner = runner
        self.reader = reader
        self.works: set[asyncio.Future[None]] = set()
        self.gone: asyncio.Future[None] | None = None
        self.has_worked = False
        self.has_lost = False
        self._on_change = on_change
        self._cautious: asyncio.Future[None] | None = None
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._pause: asyncio.TimerHandle | None = None

    @property
    def beats(self) -> bool:
        """Whether the runner is known to live."""
        return self.runner.silent_s < SILENCE_S

    @property
    def is_free(self) -> bool:
        """Whether one more claim may be begun."""
        is_shared = self._cautious is None and len(self.works) < SLOTS
        return is_shared and self.gone is None and self._pause is None and self.beats

    def add(self, work: asyncio.Future[None], *, cautious: bool = False) -> None:
        """Hold what works on a claim, until it has ended; `cautious`: none is begun beside it."""
        self.works.add(work)
        self._cautious = work if cautious else self._cautious
        work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[None]) -> None:
        self.works.discard(work)
        self._cautious = None if self._cautious is work else self._cautious
        self._on_change(self)

    async def left_alone(self) -> None:
        """Return when all have ended that were begun before the cautious one."""
        if others := self.works - {self._cautious}:
            await asyncio.wait(others)

    def pause(self) -> None:
        """Take no claim for a while, each time longer: what was claimed could not be worked on."""
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(self._backoff.next(), self._resume)

    def went_well(self) -> None:
        """Say that a claim could be worked on, whatever came of it."""
        self.has_worked, self.has_lost = True, False
        self._backoff.reset()

    def _resume(self) -> None:
        self._pause = None
        self._on_change(self)

    def leave(self) -> asyncio.Future[None]:
        """Take no claims any more. That need not be waited for; it is done when none is left.

        They may go on for GRACE_S, then they are handed back.
        """
        if self.gone is None:
            self.gone = asyncio.ensure_future(self._empty())
            self.gone.add_done_callback(lambda _: self._on_change(self))
        return self.gone

    async def _empty(self) -> None:
        """Let the claims end, or hand them back; then end the reader, unless its runner is about to be replaced."""
        if self.works:
            await asyncio.wait(self.works, timeout=GRACE_S)
        for work in self.works:
            work.cancel()
        await asyncio.gather(*self.works, return_exceptions=True)
        if not self.has_lost:
            await self.reader.close()
