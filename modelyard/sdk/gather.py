"""Several coroutines at a time, with the error of the first that fails as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def gather(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one fails cancel the others, wait for their end and raise its error."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
