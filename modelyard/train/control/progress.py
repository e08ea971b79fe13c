"""What the members report of the training: the latest is kept, and all is handed on."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

from modelyard.train.control.messages import Committed, Evaluated, Failed, Finished, Saved, Unsaved
from modelyard.train.control.waiting import Waits

MOST_COMMITTED = 10_000
"""Kept for a listener that is behind; older ones are dropped."""


@dataclass(frozen=True)
class State:
    """Where a job is.

    Attributes:
        number: of its formation; 0: there was none.
        members: of the formation, by rank, as Members has seen them.
        waiting: how many others are there.
        trains: whether all of the formation do.
        lead: its rank 0; empty: there is none.
    """

    number: int = 0
    members: tuple[str, ...] = ()
    waiting: int = 0
    trains: bool = False
    lead: str = ""


@dataclass(frozen=True)
class News:
    """What has happened since the last one.

    Attributes:
        state: where the job is.
        committed: in order.
        evaluated: the last epoch that has ended; None: none was heard of since the last news.
        saved: the last checkpoint, of all times.
        unsaved: a later one that could not be saved; None: there is none.
        waits: what rank 0 waits for.
        finished: the first member that has.
        failed: the first member that has.
    """

    state: State
    committed: tuple[Committed, ...] = ()
    evaluated: Evaluated | None = None
    saved: Saved | None = None
    unsaved: Unsaved | None = None
    waits: Waits = field(default_factory=Waits)
    finished: Finished | None = None
    failed: Failed | None = None


Report = Committed | Evaluated | Saved | Unsaved | Waits | Finished | Failed | State


class Listener(Protocol):
    """Who is told how the training goes."""

    async def hear(self, news: News) -> None:
        """Take in what is new."""
        ...


class Progress:
    """Keeps what is reported until the listener has heard it: a slow listener does not hold up the members.

    Attributes:
        state: where the job is.
        last: what was committed last; None: nothing yet.
        saved: the last checkpoint.
        unsaved: a later one that could not be saved.
        waits: what rank 0 waits for; nothing as soon as another member is that.
        finished: the first member that has.
        failed: the first member that has.
    """

    def __init__(self, listener: Listener, saved: Saved | None = None) -> None:
        """`saved`: the checkpoint that is known from before."""
        self._listener = listener
        self._committed: deque[Committed] = deque(maxlen=MOST_COMMITTED)
        self._changed = asyncio.Event()
        self.state = State()
        self.last: Committed | None = None
        self._evaluated: Evaluated | None = None
        self.saved = saved
        self.unsaved: Unsaved | None = None
        self.waits = Waits()
        self.finished: Finished | None = None
        self.failed: Failed | None = None

    def take(self, report: Report) -> None:
        """Take in a report. What is committed again is not handed on twice."""
        match report:
            case Committed() if self.last is None or report.position.step > self.last.position.step:
                self.last = report
                self._committed.append(report)
            case Evaluated():
                self._evaluated = report
            case Saved() if self._is_last(report):
                self.saved, self.unsaved = replace(report, instead=""), None
            case Unsaved():
                self.unsaved = report
            case Waits():
                self.waits = report
            case Finished():
                self.finished = self.finished or report
            case Failed() if self.finished is None:  # a rank that failed later has changed nothing about that
                self.failed = self.failed or report
            case State():
                self.waits = self.waits if report.lead == self.state.lead else Waits()
                self.state = report
            case _:
                return
        self._changed.set()

    def _is_last(self, report: Saved) -> bool:
        """Whether it is the last checkpoint now: later than the one that was, or there in its place."""
        if self.saved is None or report.instead == self.saved.name:
            return True
        return not report.instead and report.position.step >= self.saved.position.step

    async def run(self) -> None:
        """Hand on until cancelled."""
        while True:
            await self._changed.wait()
            await self.flush()

    async def flush(self) -> None:
        """Hand on what is there."""
        self._changed.clear()
        committed = tuple(self._committed)
        self._committed.clear()
        evaluated, self._evaluated = self._evaluated, None
        told = (self.saved, self.unsaved, self.waits, self.finished, self.failed)
        await self._listener.hear(News(self.state, committed, evaluated, *told))
