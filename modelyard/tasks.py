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
        task.add_done_callback(_on_done)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _on_done(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("background work failed, stopping", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
