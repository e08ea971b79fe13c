"""Calls that wait, in the order in which they go."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
DEFAULT_PRIORITY = 5


@dataclass(eq=False, slots=True)
class Waiting(Generic[T]):
    """A call in the queue. Times are of one monotonic clock, in seconds.

    Attributes:
        call: what is to be executed.
        kind: calls of equal kinds can be stacked; None: this one only by itself.
        rows: how many it has, 1 or more.
        priority: lower goes first.
        expires_s: when it is too late to begin; None: never.
        number: its place in the order in which calls came.
        queued: whether it waits.
    """

    call: T
    kind: Hashable
    rows: int
    arrived_s: float
    priority: int = DEFAULT_PRIORITY
    expires_s: float | None = None
    number: int = field(default=-1, init=False)
    queued: bool = field(default=False, init=False)


class Line(Generic[T]):
    """The lower priority number goes first, then who came earlier. There are few different priorities.

    Attributes:
        rows: of all that wait.
    """

    __slots__ = ("_order", "_ranks", "_size", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._size = 0
        self._order: list[int] = []
        self._ranks: dict[int, OrderedDict[int, Waiting[T]]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return self._size

    def __iter__(self) -> Iterator[Waiting[T]]:
        """All, in order."""
        for priority in self._order:
            yield from self._ranks[priority].values()

    def add(self, waiting: Waiting[T]) -> None:
        """Put a call at the end of its priority."""
        rank = self._ranks.get(waiting.priority)
        if rank is None:
            rank = self._ranks[waiting.priority] = OrderedDict()
            insort(self._order, waiting.priority)
        rank[waiting.number] = waiting
        self.rows += waiting.rows
        self._size += 1

    def remove(self, waiting: Waiting[T]) -> None:
        """Take a call out, wherever it stands."""
        del self._ranks[waiting.priority][waiting.number]
        self.rows -= waiting.rows
        self._size -= 1

    def first(self) -> Waiting[T] | None:
        """Who goes first."""
        for priority in self._order:
            for waiting in self._ranks[priority].values():
                return waiting
        return None

    def oldest(self) -> Waiting[T] | None:
        """Who came first."""
        if len(self._ranks) == 1:
            return self.first()
        fronts = [next(iter(rank.values())) for rank in self._ranks.values() if rank]
        return min(fronts, key=lambda w: w.number, default=None)

    def oldest_s(self) -> float:
        """When that was; 0 if nobody waits."""
        oldest = self.oldest()
        return oldest.arrived_s if oldest else 0.0
