"""How many streams move bytes at a time: the rest waits, unread, so that memory has a bound whatever their number."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

LANES = 16
PATIENCE_S = 0.2
"""Who is kept waiting by the other side for longer leaves the lane to another: slow clients hold up nobody."""


class Lanes:
    """Some lanes, given to those who ask in their order."""

    def __init__(self, lanes: int = LANES, patience_s: float = PATIENCE_S) -> None:
        self._free = asyncio.Semaphore(lanes)
        self._patience_s = patience_s

    @contextlib.asynccontextmanager
    async def lane(self) -> AsyncIterator[Lane]:
        """A lane that can be entered and left; it is left at the end."""
        lane = Lane(self._free, self._patience_s)
        try:
            yield lane
        finally:
            lane.leave()


class Lane:
    """One stream's way to move bytes."""

    def __init__(self, free: asyncio.Semaphore, patience_s: float) -> None:
        self._free = free
        self._patience_s = patience_s
        self._inside = False

    async def enter(self) -> None:
        """Return once this stream may move bytes; at once if it may already."""
        if not self._inside:
            await self._free.acquire()
            self._inside = True

    def leave(self) -> None:
        """Let another in."""
        if self._inside:
            self._inside = False
            self._free.release()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While the other side is waited for: the lane is left if that takes long. Enter it again afterwards."""
        leaving = asyncio.get_running_loop().call_later(self._patience_s, self.leave)
        try:
            yield
        finally:
            leaving.cancel()
