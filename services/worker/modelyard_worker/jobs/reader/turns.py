"""Whose call is next at an instance: as many are under way as it executes at once, and one more that waits there."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable


class Turn:
    """A call that is under way; `begun_s`: since when it is executed, as far as we can tell; None: it waits."""

    def __init__(self) -> None:
        self.begun_s: float | None = None


class Turns:
    """The calls of all tasks at an instance; those of the task that began first go first."""

    def __init__(self, copies: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`copies`: how many calls the instance executes at once."""
        self._copies = copies
        self._clock = clock
        self._under_way: list[Turn] = []
        self._waiting: list[tuple[int, int, asyncio.Future[Turn]]] = []
        self._last = 0

    async def take(self, order: int) -> Turn:
        """Return when a call may be sent; of those that wait the one of the lowest `order` is next. `give` it back."""
        self._last += 1
        wanted: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (order, self._last, wanted))
        self._admit()
        try:
            return await wanted
        except asyncio.CancelledError:
            if wanted.cancelled() or not wanted.done():
                wanted.cancel()
            else:
                self.give(wanted.result())
            raise

    def give(self, turn: Turn) -> float:
        """Say that a call has ended; return for how many seconds it was executed."""
        self._under_way.remove(turn)
        self._admit()
        return 0.0 if turn.begun_s is None else self._clock() - turn.begun_s

    def _admit(self) -> None:
        while self._waiting and len(self._under_way) <= self._copies:
            wanted = heapq.heappop(self._waiting)[-1]
            if not wanted.done():
                self._under_way.append(Turn())
                wanted.set_result(self._under_way[-1])
        for turn in self._under_way[: self._copies]:
            if turn.begun_s is None:
                turn.begun_s = self._clock()
