"""A collector's turn: one at a time, and none whose lease may have ended removes or writes anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Member
from modelyard.errors import PASSING, AbortedError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, Put

log = logging.getLogger(__name__)

TTL_S = 18.0
"""So long are the chunks condemned that a collector was removing when it was killed."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _now_s() -> float:
    """Seconds on a clock that also goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Turn:
    """The right to remove chunks, for as long as `check` and `commit` do not raise."""

    def __init__(self, etcd: Etcd, revision: int, lease_id: int, began_s: float, ttl_s: float) -> None:
        """`revision`: that created the collector's key; `began_s`: before its lease was asked for."""
        self.unsettled = False
        """While a removal may still be under way that nobody can call back: the lease is left to run out then."""
        self._etcd = etcd
        self._mine = Compare(keys.COLLECTOR, revision)
        self._lease_id = lease_id
        self._ttl_s = ttl_s
        self._sure_until_s = 0.0
        self._renewed(began_s)

    def _renewed(self, asked_s: float) -> None:
        """The lease lives for its length from some time after it was asked for; half of it is for what is begun."""
        self._sure_until_s = asked_s + self._ttl_s / 2

    def check(self) -> None:
        """Raise AbortedError unless the lease lives for certain, and for long enough to remove something."""
        if _now_s() >= self._sure_until_s:
            raise AbortedError("collection stopped: its lease was not renewed in time", retry_after_s=self._ttl_s)

    async def condemn(self, marks: list[str]) -> None:
        """Say which chunks are to be removed; raise AbortedError if it is another's turn."""
        await self._commit(Put(keys.CONDEMNED, codec.encode(marks), self._lease_id))

    async def acquit(self) -> None:
        """Say that no chunk is to be removed; raise AbortedError if it is another's turn."""
        await self._commit(Delete(keys.CONDEMNED))

    async def _commit(self, operation: Put | Delete) -> None:
        self.check()
        if not await self._etcd.commit([self._mine], [operation]):
            raise AbortedError("collection stopped: another collector took its place", retry_after_s=self._ttl_s)

    async def keep(self) -> None:
        """Renew the lease until cancelled, or until it is lost."""
        while True:
            await asyncio.sleep(self._ttl_s / 6)
            asked_s = _now_s()
            try:
                if not await self._etcd.keep_alive(self._lease_id):
                    return
                self._renewed(asked_s)
            except PASSING as error:
                log.warning("collector's lease not renewed", extra={"reason": str(error)})


@contextlib.asynccontextmanager
async def turn(etcd: Etcd, name: str, ttl_s: float = TTL_S) -> AsyncIterator[Turn]:
    """Take the turn, and give it up at the end.

    Raises:
        PreconditionError: another is collecting.
        UnavailableError: etcd is away.
    """
    began_s = _now_s()
    lease_id = await etcd.grant(int(ttl_s))
    taken: Turn | None = None
    try:
        put = Put(keys.COLLECTOR, codec.encode(Member(name, "")), lease_id)
        revision = await etcd.commit([Compare(keys.COLLECTOR, 0)], [put])
        if not revision:
            raise PreconditionError(f"collection: expected none under way, but {await _who(etcd)} is collecting")
        taken = Turn(etcd, revision, lease_id, began_s, ttl_s)
        async with _running(taken.keep()):
            yield taken
    finally:
        await _give_up(etcd, lease_id, unsettled=taken is not None and taken.unsettled)


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _who(etcd: Etcd) -> str:
    held = await etcd.get(keys.COLLECTOR)
    return codec.decode(Member, held.value).id if held else "another registry"


async def _give_up(etcd: Etcd, lease_id: int, *, unsettled: bool) -> None:
    try:
        if not unsettled:
            await etcd.revoke(lease_id)
    except PASSING as error:
        log.warning("collector's lease left to run out", extra={"reason": str(error)})
