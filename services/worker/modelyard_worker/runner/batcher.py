"""Which waiting calls are executed together, and when. Policy only: no I/O, no clock of its own.

A batch is of one kind: calls whose inputs differ only in how many rows they have, so that they can be stacked. Who is
first in line (the lower priority number, then the earlier) goes first, and others of its kind go with it in that order,
as long as they fit. A batch is due when the rows that wait of its kind fill one or reach a preferred size, or when one
of them has waited `max_delay_s`. With a delay of 0 that is at once: what has queued up while the device was busy goes
together. A kind that is not due yet does not keep one that is from going.

A better priority gets more of the device, not all of it: after PATIENCE batches without the call that has waited
longest, that call begins the next one. (A limit on the time that it waits would be worse: under overload all calls of
low priority pass any such limit, and priorities would end where they are needed.)

Whatever waits, a call is added, taken out or found to be due in a time that does not grow with the queue.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from modelyard_worker.runner.line import Line, Waiting

T = TypeVar("T")
PATIENCE = 15
"""So many batches, one after the other, may go before the call that has waited longest."""
DEAD_AT_MOST = 64
"""Of those that could have expired and have left; more, and more than are alive, are swept out."""


@dataclass(frozen=True)
class BatchingOptions:
    """How calls are put together.

    Attributes:
        max_rows: of a batch; a call with more rows is a batch of its own. 1: no call waits for another.
        max_delay_s: how long a call waits for others while the device is idle.
        preferred_rows: sizes at which a batch does not wait for more.
    """

    max_rows: int = 1
    max_delay_s: float = 0.0
    preferred_rows: tuple[int, ...] = ()


class Batcher(Generic[T]):
    """The queue in front of a device."""

    def __init__(self, options: BatchingOptions) -> None:
        self._max_rows = options.max_rows
        self._max_delay_s = options.max_delay_s
        self._preferred = sorted({n for n in options.preferred_rows if 0 < n <= options.max_rows}, reverse=True)
        self._enough = self._preferred[-1] if self._preferred else options.max_rows
        self._line: Line[T] = Line()
        self._kinds: dict[Hashable, Line[T]] = {}
        self._complete: dict[Hashable, None] = {}
        self._expiring: list[tuple[float, int]] = []
        self._can_expire: dict[int, Waiting[T]] = {}
        self._numbers = itertools.count()
        self._passed = 0

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._line)

    @property
    def first(self) -> Waiting[T] | None:
        """Who is first in line."""
        return self._line.first()

    def add(self, waiting: Waiting[T]) -> None:
        """Queue a call."""
        waiting.number = number = next(self._numbers)
        waiting.queued = True
        self._line.add(waiting)
        line = self._kinds.get(waiting.kind)
        if line is None:
            line = self._kinds[waiting.kind] = Line()
        line.add(waiting)
        if line.rows >= self._enough or waiting.kind is None:
            self._complete[waiting.kind] = None
        if waiting.expires_s is not None:
            self._can_expire[number] = waiting
            heapq.heappush(self._expiring, (waiting.expires_s, number))

    def cancel(self, waiting: Waiting[T]) -> bool:
        """Take a call out of the queue; False if it is no longer there."""
        if not waiting.queued:
            return False
        self._remove(waiting)
        self._sweep()
        return True

    def expired(self, now_s: float) -> list[Waiting[T]]:
        """Take out and return the calls that it is too late to begin."""
        late: list[Waiting[T]] = []
        while self._expiring and self._expiring[0][0] <= now_s:
            waiting = self._can_expire.get(heapq.heappop(self._expiring)[1])
            if waiting is not None:
                self._remove(waiting)
                late.append(waiting)
        return late

    def take(self, now_s: float) -> list[Waiting[T]]:
        """Take out and return the batch that is due, for a device that is idle; empty if none is."""
        first = self._due(now_s)
        if first is None:
            return []
        oldest = self._line.oldest()
        batch = [first] if first.kind is None else self._batch(first, self._kinds[first.kind])
        for waiting in batch:
            self._remove(waiting)
        self._passed = self._passed + 1 if oldest and oldest.queued else 0
        self._sweep()
        return batch

    def next_s(self) -> float | None:
        """When to look again for a batch that is due or a call that has expired; None: not before another comes.

        A time that has passed means: at once.
        """
        times = [self._due_s()] if self._line else []
        while self._expiring and self._expiring[0][1] not in self._can_expire:
            heapq.heappop(self._expiring)
        return min(times + [expires_s for expires_s, _ in self._expiring[:1]], default=None)

    def _due(self, now_s: float) -> Waiting[T] | None:
        """The first in line if its kind is due, else the first of a kind that is; None if none is.

        Before them all who has been passed over for long enough.
        """
        if self._passed >= PATIENCE and (oldest := self._line.oldest()) and self._is_due(oldest, now_s):
            return oldest
        first = self._line.first()
        if first is None or self._is_due(first, now_s):
            return first
        for kind in self._complete:
            return self._kinds[kind].first()
        oldest = self._line.oldest()
        return oldest if oldest and oldest.arrived_s + self._max_delay_s <= now_s else None

    def _is_due(self, waiting: Waiting[T], now_s: float) -> bool:
        """Whether the kind of a call is."""
        if self._max_delay_s <= 0 or waiting.kind in self._complete:
            return True
        return self._kinds[waiting.kind].oldest_s() + self._max_delay_s <= now_s

    def _due_s(self) -> float:
        """When `_due` returns one, if no other call comes."""
        oldest_s = self._line.oldest_s()
        return oldest_s if self._complete else oldest_s + self._max_delay_s

    def _batch(self, first: Waiting[T], line: Line[T]) -> list[Waiting[T]]:
        """Who goes together: the first, and as many from the front of its kind as fit, or as make a preferred size."""
        batch, rows = [first], first.rows
        for waiting in line if rows < self._max_rows else ():
            if waiting is first:
                continue
            if rows + waiting.rows > self._max_rows:
                break
            batch.append(waiting)
            rows += waiting.rows
            if rows >= self._max_rows:
                break
        wanted = next((n for n in self._preferred if n <= rows), rows)
        while rows - batch[-1].rows >= wanted:
            rows -= batch.pop().rows
        return batch

    def _remove(self, waiting: Waiting[T]) -> None:
        waiting.queued = False
        self._line.remove(waiting)
        if waiting.expires_s is not None:
            del self._can_expire[waiting.number]
        line = self._kinds[waiting.kind]
        line.remove(waiting)
        if not line:
            del self._kinds[waiting.kind]
            self._complete.pop(waiting.kind, None)
        elif line.rows < self._enough and waiting.kind is not None:
            self._complete.pop(waiting.kind, None)

    def _sweep(self) -> None:
        """Forget when those would have expired that have left, once they are many."""
        if len(self._expiring) > 2 * len(self._can_expire) + DEAD_AT_MOST:
            self._expiring = [entry for entry in self._expiring if entry[1] in self._can_expire]
            heapq.heapify(self._expiring)
