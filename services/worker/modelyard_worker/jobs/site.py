"""An instance of this worker that is READY, as tasks of jobs see it: what executes their rows, and whether it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from modelyard.backoff import Backoff
from modelyard_worker.jobs.assignment import Target
from modelyard_worker.jobs.reader_process import Reader

SLOTS = 2
"""Claims of an instance at most, so that the next rows are read while others execute."""
SILENCE_S = 2.0
"""A runner that has not beaten for so long gets no new claims, and those that it has are not kept for it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Runner(Protocol):
    """The process that has the instance."""

    @property
    def silent_s(self) -> float:
        """Seconds since its last heartbeat."""
        ...

    async def kill(self) -> None:
        """End it at once, if it still lives."""
        ...


class Site:
    """Where claims of one instance are worked on.

    Attributes:
        works: what works on claims, one each.
        gone: done when none of them is left; None while more are begun.
    """

    def __init__(self, target: Target, runner: Runner, reader: Reader, on_free: Callable[[Site], None]) -> None:
        """`on_free`: called when it may take a claim again."""
        self.target = target
        self.runner = runner
        self.reader = reader
        self.works: set[asyncio.Future[None]] = set()
        self.gone: asyncio.Future[None] | None = None
        self._on_free = on_free
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._pause: asyncio.TimerHandle | None = None

    @property
    def beats(self) -> bool:
        """Whether the runner is known to live."""
        return self.runner.silent_s < SILENCE_S

    @property
    def is_free(self) -> bool:
        """Whether one more claim may be begun."""
        return self.gone is None and self._pause is None and len(self.works) < SLOTS and self.beats

    def add(self, work: asyncio.Future[None]) -> None:
        """Hold what works on a claim, until it has ended."""
        self.works.add(work)
        work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Future[None]) -> None:
        self.works.discard(work)
        self._on_free(self)

    def pause(self) -> None:
        """Take no claim for a while, each time longer: what was claimed could not be worked on."""
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(self._backoff.next(), self._resume)

    def went_well(self) -> None:
        """Say that a claim could be worked on, whatever came of it."""
        self._backoff.reset()

    def _resume(self) -> None:
        self._pause = None
        self._on_free(self)
