"""What the leader does again and again, each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelyard.errors import PASSING

T = TypeVar("T")
log = logging.getLogger(__name__)

FAILED_S = 0.5
"""Waited at least before another try after what has failed."""


async def patiently(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Do it once; while Redis or etcd is away it is tried again.

    Args:
        what: for the log.
        work: what else it raises is raised.
    """
    while True:
        try:
            return await work()
        except PASSING as error:
            log.warning("waiting to go on", extra={"work": what, "reason": str(error)})
        await asyncio.sleep(FAILED_S)


async def every(pause_s: float, what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do it, then wait, until cancelled; while Redis or etcd is away it is tried as often.

    Args:
        pause_s: between two times.
        what: for the log.
        work: raises what is to end this.
    """
    failing = False
    while True:
        try:
            await work()
            failing = False
        except PASSING as error:
            if not failing:
                log.warning("waiting to go on", extra={"work": what, "reason": str(error)})
            failing = True
        await asyncio.sleep(max(pause_s, FAILED_S) if failing else pause_s)
