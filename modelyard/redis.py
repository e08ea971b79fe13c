"""The one module that speaks to Redis. The queue lane builds on this connection.

Redis runs with `appendonly yes`, `appendfsync always` and `noeviction`. The queue's key map is in
modelyard/queue/script.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the driver's
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the driver's
)

from modelyard.backoff import Backoff
from modelyard.errors import ExhaustedError, UnavailableError
from modelyard.tasks import heeding_cancellation

log = logging.getLogger(__name__)

SETTINGS = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""What the queue's guarantees need; `modelyard up` and compose.yaml start Redis with them."""
RETRY_AFTER_S = 1.0
FULL_RETRY_AFTER_S = 5.0
_AWAY = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError, OSError)
_PASSING = ("BUSY", "LOADING", "MASTERDOWN", "MISCONF")
_PATIENCE_S = 5.0
_CONNECTIONS = 100
"""Of commands, and of those that block; who finds them all in use waits for one."""


class Redis:
    """A connection pool to one Redis."""

    def __init__(self, address: str) -> None:
        """`address`: host:port."""
        self.address = address
        self._client = self._open(socket_timeout=_PATIENCE_S)
        self._blocking = self._open(socket_timeout=None)
        self._execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        self._execute_blocking: Callable[..., Awaitable[Any]] = self._blocking.execute_command

    def _open(self, *, socket_timeout: float | None) -> redis.asyncio.Redis:
        """Repeat a command once whose connection breaks: after a restart of Redis all that are open do."""
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            f"redis://{self.address}",
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_S,
            socket_timeout=socket_timeout,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[ConnectionError],
        )
        return redis.asyncio.Redis.from_pool(pool)

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            with heeding_cancellation():  # the driver swallows it while it checks a pooled connection (redis 8.1.0)
                return bool(await self._client.ping())
        except (RedisError, OSError):
            return False

    async def wait_ready(self) -> None:
        """Return once Redis answers; until then say every few seconds what is waited for."""
        backoff = Backoff(0.05, 2.0)
        while not await self.ping():
            delay_s = backoff.next()
            log.warning("waiting for redis", extra={"address": self.address})
            await asyncio.sleep(delay_s)

    async def unsafe_settings(self) -> dict[str, str]:
        """The settings that differ from SETTINGS, with their values."""
        found = {name: (await self._client.config_get(name)).get(name) or "" for name in SETTINGS}
        return {name: value for name, value in found.items() if value != SETTINGS[name]}

    async def command(self, *words: bytes | str | float) -> Any:
        """Run a command that does not block; return the driver's answer to it.

        Raises:
            UnavailableError: Redis is away, loading, or cannot write.
            ExhaustedError: Redis is at maxmemory.
        """
        with self._translated():
            return await self._execute(*words)

    async def block(self, wait_s: float, *words: bytes | str | float) -> Any:
        """Run a command that Redis itself ends after `wait_s` seconds; errors as `command`."""
        with self._translated():
            async with asyncio.timeout(wait_s + _PATIENCE_S):
                return await self._execute_blocking(*words)

    async def evaluate(self, source: str, digest: str, key: str, *arguments: bytes | str | float) -> Any:
        """Run a Lua script, which Redis is told once; errors as `command`.

        Args:
            source: the script.
            digest: its SHA-1 in hex.
            key: KEYS[1].
            arguments: ARGV.
        """
        with self._translated():
            try:
                return await self._execute("EVALSHA", digest, 1, key, *arguments)
            except NoScriptError:
                return await self._execute("EVAL", source, 1, key, *arguments)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        await self._blocking.aclose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with heeding_cancellation():
                yield
        except _AWAY as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"redis at {self.address}: {reason}", retry_after_s=RETRY_AFTER_S) from error
        except ResponseError as error:
            if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):
                message = f"redis at {self.address} is full: {error}"
                raise ExhaustedError(message, retry_after_s=FULL_RETRY_AFTER_S) from error
            if str(error).startswith(_PASSING):
                message = f"redis at {self.address}: {error}"
                raise UnavailableError(message, retry_after_s=RETRY_AFTER_S) from error
            raise
