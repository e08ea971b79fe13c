"""The threads that execute an instance's calls: one for each copy, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from modelyard_worker.runner.callqueue import CallQueue, Settled
from modelyard_worker.runner.evaluation import Evaluator, Outcome
from modelyard_worker.runner.statistics import BatchRecord, Statistics
from modelyard_worker.runner.work import Work

log = logging.getLogger(__name__)

HOLD_S = 0.001
"""So long outcomes of shorter batches are kept back, while there is more to execute, to be told together."""


class Executor:
    """Executes what is queued. What became of a batch, or of several short ones, reaches the event loop in one step."""

    def __init__(
        self,
        calls: CallQueue,
        evaluators: Sequence[Evaluator],
        statistics: Statistics,
        observe: Callable[[BatchRecord], None] | None,
    ) -> None:
        self._calls = calls
        self._evaluators = evaluators
        self._statistics = statistics
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._wakes: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in evaluators]
        self._idle: deque[int] = deque()
        self._running = len(evaluators)
        self._ended = asyncio.Event()
        for copy in range(len(evaluators)):
            threading.Thread(target=self._run, args=(copy,), name=f"executor {copy}", daemon=True).start()

    def submit(self, works: Sequence[Work]) -> None:
        """Queue calls, in their order; those that are refused are done at once."""
        refused = self._calls.put(works)
        if refused:
            self._statistics.refused(len(refused))
            _finish(refused)
        if len(refused) < len(works):
            self._wake_one()

    async def close(self) -> None:
        """Finish what is queued, end the threads, give the models' memory back."""
        self._calls.close()
        for wake in self._wakes:
            wake.put(None)
        await self._ended.wait()

    def _one_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._ended.set()

    def _wake_one(self) -> None:
        try:
            copy = self._idle.popleft()
        except IndexError:
            return  # all are busy: who is done looks again
        self._wakes[copy].put(None)

    def _wake(self, copies: Sequence[int]) -> None:
        for copy in copies:
            if self._leave_idle(copy):
                self._wakes[copy].put(None)

    def _leave_idle(self, copy: int) -> bool:
        try:
            self._idle.remove(copy)
        except ValueError:
            return False
        return True

    # In the threads.

    def _run(self, copy: int) -> None:
        try:
            self._serve(copy)
            self._close_copy(copy)
        except BaseException:
            if self._loop.is_closed():
                return  # nobody waits any more
            log.critical("unforeseen error in an executor: the runner ends", exc_info=True)
            os._exit(1)  # its calls would never be answered; the agent starts another

    def _close_copy(self, copy: int) -> None:
        try:
            self._evaluators[copy].close()
        except Exception:
            log.exception("a copy of a model could not be closed")
        self._loop.call_soon_threadsafe(self._one_ended)

    def _serve(self, copy: int) -> None:
        outbox = _Outbox(self._loop)
        while True:
            self._idle.append(copy)  # before it looks: whoever has something for it after that, finds it here
            look = self._calls.look(copy)
            if look.settled:
                self._count_failed(look.settled)
                outbox.add(look.settled)
            if look.others:
                self._wake(look.others)
            outbox.tell(idle=not look.batch)
            if not look.batch and not look.ended:
                self._sleep(copy, look.next_s)
                continue
            if not self._leave_idle(copy):
                self._wake_one()  # it was woken for what came while it looked: another may be free for that
            if look.ended:
                return
            self._execute(copy, look.batch, outbox)

    def _sleep(self, copy: int, until_s: float | None) -> None:
        """Wait until there may be something to do."""
        wake = self._wakes[copy]
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        with contextlib.suppress(queue.Empty):
            wake.get(timeout=timeout_s)
            while True:  # it looks once, however often it was woken
                wake.get_nowait()
        self._leave_idle(copy)

    def _execute(self, copy: int, batch: list[Work], outbox: _Outbox) -> None:
        began_s = time.monotonic()
        requests = [work.read for work in batch if work.read is not None]
        evaluated = self._evaluators[copy].evaluate(requests)
        outbox.last_s = time.monotonic() - began_s
        outbox.add(zip(batch, evaluated.outcomes, strict=True))
        record = BatchRecord(
            rows=sum([r.form.rows for r in requests]),
            queue_s=[began_s - work.arrived_s for work in batch],
            input_s=evaluated.input_s,
            infer_s=evaluated.infer_s,
            output_s=evaluated.output_s,
            failed=evaluated.failed,
        )
        self._calls.bound.served(len(batch), outbox.last_s)
        self._statistics.executed(record)
        if self._observe is not None:
            self._measure(record, self._observe)

    def _count_failed(self, settled: Settled) -> None:
        now_s = time.monotonic()
        self._statistics.refused(len(settled), sum(now_s - work.arrived_s for work, _ in settled))

    def _measure(self, record: BatchRecord, observe: Callable[[BatchRecord], None]) -> None:
        try:
            observe(record)
        except Exception:
            log.exception("a batch could not be measured")


class _Outbox:
    """What a copy has done but not yet told: while it is busy with short batches, the loop is not woken for each.

    Attributes:
        last_s: how long the last batch took.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.last_s = 0.0
        self._loop = loop
        self._settled: deque[tuple[Work, Outcome]] = deque()
        self._timed = False

    def add(self, settled: Iterable[tuple[Work, Outcome]]) -> None:
        """Keep what became of calls."""
        self._settled.extend(settled)

    def tell(self, *, idle: bool) -> None:
        """Tell what is kept: at once if it is all for now or batches are not short, else within HOLD_S.

        The next batch may take long, however short the last was: so the loop has a timer of its own.
        """
        if not self._settled:
            return
        if idle or self.last_s >= HOLD_S:
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
        _finish(settled)


def _finish(settled: Settled) -> None:
    for work, outcome in settled:
        try:
            work.done(outcome)
        except Exception:
            log.exception("unforeseen error while a call was answered")
