"""What a copy has done: how it reaches the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from modelyard_worker.runner.callqueue import Settled
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.work import Work

log = logging.getLogger(__name__)

HOLD_S = 0.001
"""So long outcomes of shorter batches are kept back, while there is more to execute, to be told together."""


class Outbox:
    """What a copy has done but not yet told: while it is busy with short batches, the loop is not woken for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._settled: deque[tuple[Work, Outcome]] = deque()
        self._timed = False

    def add(self, settled: Iterable[tuple[Work, Outcome]]) -> None:
        """Keep what became of calls."""
        self._settled.extend(settled)

    def tell(self, *, idle: bool, short: bool) -> None:
        """Tell what is kept: at once if it is all for now or batches are not short, else within HOLD_S.

        The next batch may take long, however short the last was: so the loop has a timer of its own.
        """
        if not self._settled:
            return
        if idle or not short:
            self._loop.call_soon_threadsafe(self._finish)
        elif not self._timed:
            self._timed = True
            self._loop.call_soon_threadsafe(self._loop.call_later, HOLD_S, self._finish_timed)

    # In the event loop.

    def _finish_timed(self) -> None:
        self._timed = False  # before it is emptied: what comes after that has a timer again
        self._finish()

    def _finish(self) -> None:
        settled: Settled = []
        while self._settled:
            settled.append(self._settled.popleft())
        finish(settled)


def finish(settled: Settled) -> None:
    """Tell what became of calls. In the event loop."""
    for work, outcome in settled:
        try:
            work.done(outcome)
        except Exception:
            log.exception("unforeseen error while a call was answered")
