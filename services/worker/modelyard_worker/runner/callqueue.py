"""The queue of one instance, between the event loop and the threads of its copies.

The event loop only puts calls into a list. The copy that looks for work reads and checks all that has come, whoever
will execute it, then takes what is due; one copy does this at a time. Whoever takes a call out of `_waiting` decides
its fate: the copy that begins it or lets it fail, or the loop that cancels it.

Calls of jobs wait in a line of their own, in the background: none is begun while another call is due, but for one that
has waited for PATIENCE_S; each is a batch by itself, and however many there are, they leave others their room.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from modelyard.deployment import InstanceOptions
from modelyard.errors import DeadlineError, ExhaustedError, UnavailableError
from modelyard.names import ModelVersion
from modelyard.oip.parameters import DEFAULT_PRIORITY
from modelyard_worker.runner.batcher import Batcher, BatchingOptions
from modelyard_worker.runner.bound import QueueBound
from modelyard_worker.runner.evaluation import Outcome, failure
from modelyard_worker.runner.line import Waiting
from modelyard_worker.runner.requests import Request, Requests
from modelyard_worker.runner.sequences import Sequences
from modelyard_worker.runner.work import Work

PATIENCE_S = 5.0
"""Of calls of jobs: however much else there is to do, they get on, and whoever waits for one knows that it is alive."""
Settled = list[tuple[Work, Outcome]]


class Look(NamedTuple):
    """What a copy finds.

    Attributes:
        batch: to be executed; empty if nothing is due for this copy.
        settled: calls that are done without being executed.
        next_s: when to look again, if not woken before; None: not before.
        others: the copies that something is due for.
        ended: whether nothing will come for this copy any more.
    """

    batch: list[Work]
    settled: Settled
    next_s: float | None
    others: list[int]
    ended: bool


class CallQueue:
    """What waits for the copies of one instance."""

    def __init__(self, instance: ModelVersion, requests: Requests, options: InstanceOptions) -> None:
        self.bound = QueueBound(options.max_queue_size, options.copies)
        self._instance = instance
        self._requests = requests
        self._sequences = Sequences(options.copies)
        self._waiting: dict[Work, None] = {}
        self._behind: dict[Work, None] = {}
        self._came: deque[list[Work]] = deque()
        self._cancelled: deque[Work] = deque()
        self._closed = False
        self._turn = threading.Lock()
        self._shared: Batcher[Work] = Batcher(_batching(options))
        self._background: Batcher[Work] = Batcher(BatchingOptions())
        self._own: list[Batcher[Work]] = [Batcher(BatchingOptions()) for _ in range(options.copies)]
        self._places: dict[Work, tuple[Batcher[Work], Waiting[Work]]] = {}

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._waiting) + len(self._behind)

    # In the event loop.

    def put(self, works: Sequence[Work]) -> Settled:
        """Queue calls, in their order; return those that are refused."""
        now_s = time.monotonic()
        refused: Settled = []
        queued: list[Work] = []
        for work in works:
            work.arrived_s = now_s
            try:
                self._check_room(work)
            except (UnavailableError, ExhaustedError) as error:
                refused.append((work, failure(self._instance, error)))
            else:
                self._those_like(work)[work] = None
                queued.append(work)
        if queued:
            self._came.append(queued)
        return refused

    def _check_room(self, work: Work) -> None:
        if self._closed:
            raise UnavailableError("it is being unloaded")
        if not work.background:
            self.bound.check(len(self._waiting))

    def _those_like(self, work: Work) -> dict[Work, None]:
        return self._behind if work.background else self._waiting

    def cancel(self, work: Work) -> bool:
        """Take a call out; False if it is not in it any more."""
        if not self._claim(work):
            return False
        work.request = b""
        self._cancelled.append(work)
        return True

    def waits(self, work: Work) -> bool:
        """Whether a call is in it."""
        return work in self._those_like(work)

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True

    # In the threads of the copies.

    def look(self, copy: int) -> Look:
        """Take out what is due for a copy that is idle."""
        with self._turn:
            closed = self._closed  # before what has come is read: nothing comes after that
            now_s = time.monotonic()
            settled = self._admit(now_s)
            batch = self._take(copy, now_s)
            others = self._due_for_others(copy, now_s, busy=bool(batch))
            next_s = None if batch else self._next_s(copy)
            return Look(batch, settled, next_s, others, closed and not batch and next_s is None)

    def _admit(self, now_s: float) -> Settled:
        """Read what has come and put it in line; return what is done by that."""
        settled: Settled = []
        while self._came:
            for work in self._came.popleft():
                if self.waits(work):
                    try:
                        self._place(work, self._requests.read(work.request), now_s)
                    except Exception as error:
                        settled.append((work, failure(self._instance, error)))
        while self._cancelled:
            if place := self._places.pop(self._cancelled.popleft(), None):
                place[0].cancel(place[1])
        for batcher in (self._shared, self._background, *self._own):
            for waiting in batcher.expired(now_s):
                del self._places[waiting.call]
                late = DeadlineError("the deadline passed while the call was queued")
                settled.append((waiting.call, failure(self._instance, late)))
        return [(work, outcome) for work, outcome in settled if self._claim(work)]

    def _claim(self, work: Work) -> bool:
        return self._those_like(work).pop(work, self) is not self

    def _place(self, work: Work, request: Request, now_s: float) -> None:
        work.read, work.request = request, b""
        form, expires_s = request.form, work.expires_s
        parameters = form.parameters
        if parameters.timeout_us:
            latest_s = work.arrived_s + parameters.timeout_us / 1e6
            expires_s = latest_s if expires_s is None else min(expires_s, latest_s)
        if work.background:
            batcher, kind, priority = self._background, None, 0
        elif parameters.sequence is None:
            batcher, priority = self._shared, parameters.priority
            kind = None if work.alone else form.kind
        else:  # in order, whatever the priority of each
            batcher = self._own[self._sequences.copy_for(parameters.sequence, now_s)]
            kind, priority = None, 0
        if expires_s is not None and priority >= DEFAULT_PRIORITY:  # those that go first need not mind who waits
            self.bound.check_in_time(len(batcher), expires_s - now_s)
        waiting = Waiting(work, kind, form.rows, work.arrived_s, priority, expires_s)
        batcher.add(waiting)
        self._places[work] = batcher, waiting

    def _take(self, copy: int, now_s: float) -> list[Work]:
        """A batch that is due: of what only this copy may execute or of what any may, whichever has come first.

        Else one of a job; before them all one of a job that has waited for too long.
        """
        own = self._own[copy]
        batchers = [own, self._shared] if own else [self._shared]
        if own and (first := self._shared.first) and first.arrived_s < own.first.arrived_s:  # type: ignore[union-attr]
            batchers.reverse()
        first = self._background.first
        late = first is not None and now_s - first.arrived_s >= PATIENCE_S
        for batcher in (self._background, *batchers) if late else (*batchers, self._background):
            while taken := batcher.take(now_s):
                for waiting in taken:
                    del self._places[waiting.call]
                if batch := [w.call for w in taken if self._claim(w.call)]:
                    return batch
        return []

    def _due_for_others(self, copy: int, now_s: float, *, busy: bool) -> list[int]:
        others = [c for c in range(len(self._own)) if c != copy]
        if not others:
            return []
        due_s = min((t for t in (self._shared.next_s(), self._background.next_s()) if t is not None), default=None)
        if due_s is not None and (busy or due_s <= now_s):
            return others  # who is busy does not watch when it will be due
        return [c for c in others if self._own[c]]

    def _next_s(self, copy: int) -> float | None:
        times = [b.next_s() for b in (self._shared, self._background, self._own[copy])]
        return min((t for t in times if t is not None), default=None)


def _batching(options: InstanceOptions) -> BatchingOptions:
    delay_s = options.max_queue_delay_us / 1e6
    return BatchingOptions(max(1, options.max_batch_size), delay_s, options.preferred_batch_sizes)
