"""Something that a service needs and that may be away: asked again and again whether it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from modelyard import keys
from modelyard.errors import ModelyardError, UnavailableError
from modelyard.etcd import Etcd
from modelyard.redis import Redis

log = logging.getLogger(__name__)

EVERY_S = 1.0
TIMEOUT_S = 2.0
PATIENCE = 2
"""So many times in a row it must fail to answer, so that one slow answer is not taken for its absence."""


class Dependency:
    """Whether it answers."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], Awaitable[object]],
        on_change: Callable[[], None] = lambda: None,
        every_s: float = EVERY_S,
    ) -> None:
        """Take it for there, until it was asked.

        Args:
            name: how the log calls it.
            ask: returns when it has answered; raises a ModelyardError or OSError if it is away.
            on_change: called when `answers` has become another.
            every_s: seconds between two questions.
        """
        self.answers = True
        self._name = name
        self._ask = ask
        self._on_change = on_change
        self._every_s = every_s

    async def run(self) -> None:
        """Ask, until cancelled."""
        failures = 0
        while True:
            reason = await self._reason()
            failures = failures + 1 if reason else 0
            self._note(reason, answers=failures < PATIENCE)
            await asyncio.sleep(self._every_s)

    async def _reason(self) -> str:
        """Why it counts as away; empty if it answers."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._ask()
        except TimeoutError:
            return f"no answer within {TIMEOUT_S:g} s"
        except (ModelyardError, OSError) as error:
            return str(error) or type(error).__name__
        return ""

    def _note(self, reason: str, *, answers: bool) -> None:
        if answers is not self.answers:
            self.answers = answers
            level, facts = logging.INFO if answers else logging.WARNING, {"dependency": self._name, "reason": reason}
            log.log(level, "dependency is back" if answers else "dependency is away", extra=facts)
            self._on_change()


def of_etcd(etcd: Etcd, on_change: Callable[[], None] = lambda: None) -> Dependency:
    """Ask etcd for a key, which takes a majority of its members."""
    return Dependency("etcd", lambda: etcd.get(keys.LEADER), on_change)


def of_redis(redis: Redis, on_change: Callable[[], None] = lambda: None) -> Dependency:
    """Ping Redis."""

    async def ask() -> None:
        if not await redis.ping():
            raise UnavailableError(f"redis at {redis.address}: no answer")

    return Dependency("redis", ask, on_change)
