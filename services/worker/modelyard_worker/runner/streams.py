"""The execute streams that are open on an instance: who calls it, and has to be told before it goes."""

from __future__ import annotations

import asyncio
import contextlib


class Streams:
    """Counts them."""

    def __init__(self) -> None:
        self._open = 0
        self._none = asyncio.Event()
        self._none.set()

    def add(self) -> None:
        """One was opened."""
        self._open += 1
        self._none.clear()

    def remove(self) -> None:
        """One was closed."""
        self._open -= 1
        if not self._open:
            self._none.set()

    async def gone(self, within_s: float) -> None:
        """Return when none is open, at the latest after `within_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._none.wait()
