"""A worker's side of the queue on Redis, and its upkeep."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence

from modelyard.errors import UnavailableError
from modelyard.names import check_name
from modelyard.queue import checks, decoding
from modelyard.queue.connection import Connection
from modelyard.queue.records import Claim, Depth, Failed, Idle, Recovered
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis

_LOOKS = 8
"""How often a fetch looks on where all that it finds is set aside; then its caller may ask again."""


def mint(worker: str) -> str:
    """Return the token of one claim: nobody else has it, not even after Redis has forgotten something."""
    return f"{worker}/{secrets.token_hex(12)}"


def jitter() -> float:
    """Return which part of a delay to wait: a half to all."""
    return random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)


def _facts(claim: Claim) -> tuple[str, str, str, str]:
    return claim.job, claim.task, claim.entry, claim.token


class RedisClaims(Connection):
    """ClaimQueue on Redis."""

    def __init__(self, redis: Redis, prefix: str = PREFIX) -> None:
        """As Connection."""
        super().__init__(redis, prefix)
        self._unanswered: dict[tuple[str, int], str] = {}
        """Tokens of fetches that may have made a claim that nobody was told of: the next one asks for it."""

    async def fetch(self, worker: str, models: Sequence[str], slot: int = 0) -> Claim | Idle:
        """As ClaimQueue.fetch."""
        token = self._unanswered.pop((check_name("worker", worker), slot), "") or mint(worker)
        try:
            return await self._fetch(worker, models, slot, token)
        except (UnavailableError, asyncio.CancelledError):
            self._unanswered[worker, slot] = token
            raise

    async def _fetch(self, worker: str, models: Sequence[str], slot: int, token: str) -> Claim | Idle:
        for _ in range(_LOOKS):
            found = await self.run("fetch", worker, slot, token, *models)
            if found[0] == b"claim":
                return decoding.claim(found, token)
            if found[0] == b"idle":
                return Idle(found[1] / 1e3 if found[1] >= 0 else None)
        return Idle(0.0)

    async def wait(self, models: Sequence[str], wait_s: float) -> bool:
        """As ClaimQueue.wait."""
        bells = [self.key("bell", model) for model in models]
        return bool(await self.redis.block(wait_s, "BLPOP", *bells, max(0.001, wait_s)))

    async def extend(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """As ClaimQueue.extend."""
        kept = await self.run("extend", worker, *(word for claim in claims for word in _facts(claim)))
        return [claim for claim, own in zip(claims, kept, strict=True) if not own]

    async def finish(self, claim: Claim, result: bytes) -> bool:
        """As ClaimQueue.finish."""
        checks.check_result(claim.task, result)
        return bool(await self.run("finish", *_facts(claim), result))

    async def fail(self, claim: Claim, reason: str, *, retryable: bool = True) -> Failed:
        """As ClaimQueue.fail."""
        ending, *delay_ms = await self.run("fail", *_facts(claim), checks.bounded(reason), int(retryable), jitter())
        return decoding.failed(ending, delay_ms)

    async def release(self, claim: Claim) -> bool:
        """As ClaimQueue.release."""
        return bool(await self.run("release", *_facts(claim)))

    async def lost(self, claim: Claim) -> Recovered | None:
        """As ClaimQueue.lost."""
        found = await self.run("lost", *_facts(claim))
        return decoding.recovered(found) if found else None


class RedisUpkeep(Connection):
    """Upkeep on Redis."""

    async def recover(self, lease_s: float) -> list[Recovered]:
        """As Upkeep.recover."""
        return [decoding.recovered(found) for found in await self.run("recover", round(lease_s * 1e3), "")]

    async def recover_from(self, worker: str) -> list[Recovered]:
        """As Upkeep.recover_from."""
        check_name("worker", worker)
        return [decoding.recovered(found) for found in await self.run("recover", 0, worker)]

    async def set_weight(self, tenant: str, weight: float) -> None:
        """As Upkeep.set_weight."""
        checks.check_weight(tenant, weight)
        if weight == 1:
            await self.redis.command("HDEL", f"{self.prefix}weights", tenant)
        else:
            await self.redis.command("HSET", f"{self.prefix}weights", tenant, weight)

    async def depths(self) -> list[Depth]:
        """As Upkeep.depths."""
        return decoding.depths(await self.run("depths"))
