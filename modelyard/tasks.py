"""Background work of a service: it ends with its scope, and its failure ends the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from typing import Any

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines until the scope ends, then cancel them and wait for their end.

    One that fails before that is a bug: it is logged with its stack and the process is asked to stop, so that what
    supervises it starts it anew.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    for task in tasks:
        task.add_done_callback(stop_on_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine to its end, unless the event is set first: then cancel it. Return whether it came to its end."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ended := tasks[0].done():
            tasks[0].result()
        return ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def stop_on_failure(task: asyncio.Future[None]) -> None:
    """As a task's done callback: a failure that nobody foresaw is logged, and the process is asked to stop."""
    if not task.cancelled() and (error := task.exception()):
        log.error("background work failed, stopping", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
