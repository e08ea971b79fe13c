"""Redis may be away while a claim is worked on: what is to be said of it is said once Redis is back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelyard.backoff import Backoff
from modelyard.errors import PASSING

T = TypeVar("T")
FIRST_S, LONGEST_S = 0.1, 2.0


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again and again while Redis is away or full. A claim's token makes that safe: it hears when it is stale."""
    backoff = Backoff(FIRST_S, LONGEST_S)
    while True:
        try:
            return await ask()
        except PASSING:
            await asyncio.sleep(backoff.next())
