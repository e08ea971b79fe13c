"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from modelyard.errors import UnavailableError

T = TypeVar("T")
TIMEOUT_S = 60.0
_POLL_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T:
    """Return the condition's first true value; fail if there is none in time."""
    ends_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < ends_s, f"not within {timeout_s} s: {_words(condition)}"
        time.sleep(_POLL_S)
    return value


@overload
async def eventually(condition: Callable[[], Awaitable[T]], timeout_s: float = TIMEOUT_S) -> T: ...
@overload
async def eventually(condition: Callable[[], T], timeout_s: float = TIMEOUT_S) -> T: ...
async def eventually(condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """As `wait_until`, for a test in a running loop; the condition may be a coroutine function.

    Whoever asks a server that is away has no answer yet: over a connection that broke while etcd hung, say.
    """
    ends_s = time.monotonic() + timeout_s
    while True:
        away: UnavailableError | None = None
        try:
            found = condition()
            if value := await found if inspect.isawaitable(found) else found:
                return value
        except UnavailableError as error:
            away = error
        assert time.monotonic() < ends_s, f"not within {timeout_s} s: {_words(condition)} {away or ''}"
        await asyncio.sleep(_POLL_S)


def _words(condition: Callable[[], object]) -> str:
    return inspect.getsource(condition).strip() if inspect.isfunction(condition) else repr(condition)
