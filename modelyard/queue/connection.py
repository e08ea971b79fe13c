"""The scripts and keys of one queue on one Redis."""

from __future__ import annotations

from typing import Any

from modelyard.queue.script import PREFIX, Script
from modelyard.redis import Redis

NAMES = """open enqueue fetch extend finish fail release lost recover speculate state cancel delete retry depths tasks
running ended submit change records listed expire clear""".split()  # noqa: SIM905 - shorter


class Connection:
    """What RedisJobs, RedisClaims and RedisUpkeep share."""

    def __init__(self, redis: Redis, prefix: str = PREFIX) -> None:
        """`prefix`: of all keys, with one hash tag; queues of different prefixes do not see each other."""
        self.redis = redis
        self.prefix = prefix
        self._scripts = {name: Script(redis, name, prefix) for name in NAMES}

    async def run(self, name: str, *arguments: bytes | str | float) -> Any:
        """Run a script; errors as Script."""
        return await self._scripts[name](*arguments)

    def key(self, kind: str, name: str) -> str:
        """A key of the map in modelyard/queue/script.py."""
        return f"{self.prefix}{kind}:{name}"
