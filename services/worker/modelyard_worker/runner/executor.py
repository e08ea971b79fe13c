"""Who executes an instance's calls: a thread for each copy, so that the event loop stays free; of a model that is quick
the event loop itself, because to hand a call over to a thread and back costs a hundred microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from modelyard_worker.runner.callqueue import CallQueue, Look, Settled
from modelyard_worker.runner.evaluation import Evaluator
from modelyard_worker.runner.outbox import Outbox, finish
from modelyard_worker.runner.pace import Pace
from modelyard_worker.runner.statistics import BatchRecord, Statistics
from modelyard_worker.runner.work import Work

log = logging.getLogger(__name__)

TURN_S = 0.001
"""So long the event loop executes at a stretch, before it turns to other things."""
SMALL_BYTES = 64 << 10
"""What is larger takes a while to read: that is not for the event loop. Nor is a call that is to be executed alone: a
runner has died or been silent under it, perhaps because it takes long. Nor is a batch of a job."""


class Executor:
    """Executes what is queued. What became of a batch, or of several short ones, reaches the event loop in one step.

    A copy is executed on by whoever holds its lock: its thread, or for a moment the event loop.
    """

    def __init__(
        self,
        calls: CallQueue,
        evaluators: Sequence[Evaluator],
        statistics: Statistics,
        observe: Callable[[BatchRecord], None] | None,
        *,
        waits_for_more: bool,
    ) -> None:
        """`waits_for_more`: whether a call may have to wait for others although the device is idle."""
        self._calls = calls
        self._evaluators = evaluators
        self._statistics = statistics
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._wakes: list[queue.SimpleQueue[None]] = [queue.SimpleQueue() for _ in evaluators]
        self._idle: deque[int] = deque()
        self._owned = [threading.Lock() for _ in evaluators]
        self._pace = Pace()
        self._takes_turns = len(evaluators) == 1 and not waits_for_more
        self._turn: asyncio.Handle | None = None
        self._heavy: list[Work] = []
        self._running = len(evaluators)
        self._ended = asyncio.Event()
        for copy in range(len(evaluators)):
            threading.Thread(target=self._run, args=(copy,), name=f"executor {copy}", daemon=True).start()

    def submit(self, works: Sequence[Work]) -> None:
        """Queue calls, in their order; those that are refused are done at once."""
        refused = self._calls.put(works)
        if refused:
            self._statistics.refused(len(refused))
            finish(refused)
        if len(refused) == len(works):
            return
        if self._takes_turns and any(w.background for w in works):
            self._heavy = [w for w in (*self._heavy, *works) if self._calls.waits(w)]
        if self._takes_turns and self._pace.quick:
            if sum([len(w.request) for w in works]) > SMALL_BYTES or any(w.alone for w in works):
                self._heavy += works
            if self._turn is None:
                self._turn = self._loop.call_soon(self._take_turn)  # after all that this turn of the loop brings
        else:
            self._wake_one()

    def take_turn(self) -> None:
        """Execute now what would be executed at the end of this turn of the event loop."""
        if self._turn is not None:
            self._turn.cancel()
            self._take_turn()

    def _take_turn(self) -> None:
        """Execute what is queued here and now, for TURN_S at most; leave the rest, if any, to the thread."""
        self._turn = None
        self._heavy = [work for work in self._heavy if self._calls.waits(work)]
        done = False
        if not self._heavy and self._owned[0].acquire(blocking=False):
            try:
                done = self._execute_here(time.monotonic() + TURN_S)
            except BaseException:
                _crash()
            finally:
                self._owned[0].release()
        if not done:
            self._wake_one()

    def _execute_here(self, until_s: float) -> bool:
        """Execute on the first copy; return whether nothing is left to be done."""
        while True:
            look = self._calls.look(0)
            self._count_failed(look.settled)
            finish(look.settled)
            if not look.batch:
                return look.next_s is None and not look.ended
            finish(self._execute(0, look.batch))
            if time.monotonic() >= until_s:
                return False

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
            _crash()

    def _close_copy(self, copy: int) -> None:
        try:
            self._evaluators[copy].close()
        except Exception:
            log.exception("a copy of a model could not be closed")
        self._loop.call_soon_threadsafe(self._one_ended)

    def _serve(self, copy: int) -> None:
        outbox = Outbox(self._loop)
        while True:
            with self._owned[copy]:
                look = self._serve_once(copy, outbox)
            if look.ended:
                return
            if not look.batch:
                self._sleep(copy, look.next_s)

    def _serve_once(self, copy: int, outbox: Outbox) -> Look:
        """Look for something to execute, and execute it."""
        self._idle.append(copy)  # before it looks: whoever has something for it after that, finds it here
        look = self._calls.look(copy)
        self._count_failed(look.settled)
        outbox.add(look.settled)
        if look.others:
            self._wake(look.others)
        outbox.tell(idle=not look.batch, short=self._pace.short)
        if (look.batch or look.ended) and not self._leave_idle(copy):
            self._wake_one()  # it was woken for what came while it looked: another may be free for that
        if look.batch:
            outbox.add(self._execute(copy, look.batch))
        return look

    def _sleep(self, copy: int, until_s: float | None) -> None:
        """Wait until there may be something to do."""
        wake = self._wakes[copy]
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        with contextlib.suppress(queue.Empty):
            wake.get(timeout=timeout_s)
            while True:  # it looks once, however often it was woken
                wake.get_nowait()
        self._leave_idle(copy)

    # In the threads, and in the event loop.

    def _execute(self, copy: int, batch: list[Work]) -> Settled:
        began_s = time.monotonic()
        requests = [work.read for work in batch if work.read is not None]
        evaluated = self._evaluators[copy].evaluate(requests)
        took_s = time.monotonic() - began_s
        record = BatchRecord(
            rows=sum([r.form.rows for r in requests]),
            queue_s=[began_s - work.arrived_s for work in batch],
            input_s=evaluated.input_s,
            infer_s=evaluated.infer_s,
            output_s=evaluated.output_s,
            failed=evaluated.failed,
        )
        if not batch[0].background:
            self._pace.took(took_s)
            self._calls.bound.served(len(batch), took_s)
        self._statistics.executed(record)
        if self._observe is not None:
            self._measure(record, self._observe)
        return list(zip(batch, evaluated.outcomes, strict=True))

    def _count_failed(self, settled: Settled) -> None:
        if not settled:
            return
        now_s = time.monotonic()
        self._statistics.refused(len(settled), sum(now_s - work.arrived_s for work, _ in settled))

    def _measure(self, record: BatchRecord, observe: Callable[[BatchRecord], None]) -> None:
        try:
            observe(record)
        except Exception:
            log.exception("a batch could not be measured")


def _crash() -> NoReturn:
    """End the process: its calls would never be answered. The agent starts another."""
    log.critical("unforeseen error in an executor: the runner ends", exc_info=True)
    os._exit(1)
