"""The one module that speaks to Redis. The queue lane builds on this connection.

Key map: none yet. Redis runs with `appendonly yes`, `appendfsync always` and `noeviction`.
"""

from __future__ import annotations

import asyncio
import logging

import redis.asyncio
from redis.exceptions import RedisError

from modelyard.backoff import Backoff

log = logging.getLogger(__name__)

SETTINGS = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""What the queue's guarantees need; `modelyard up` and compose.yaml start Redis with them."""


class Redis:
    """A connection pool to one Redis."""

    def __init__(self, address: str) -> None:
        """`address`: host:port."""
        self.address = address
        self._client = redis.asyncio.Redis.from_url(f"redis://{address}", socket_timeout=5, socket_connect_timeout=2)

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
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

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
