"""Keys that live as long as this process: a lease, kept alive and replaced when it is lost; and leadership."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable

from modelyard.backoff import Backoff
from modelyard.errors import PASSING, UnavailableError
from modelyard.etcd import Compare, Etcd, Put

log = logging.getLogger(__name__)

TTL_S = 15
LEAST_TTL_S = 2
"""Where it is not told otherwise etcd grants no less: one and a half times its election timeout, rounded up."""


class Session:
    """A lease and the keys announced under it.

    A lost lease means to register anew, never to restart: the session takes a new lease and puts its keys again.
    `on_lease` is told each new lease before a key is put under it. At each renewal it is looked whether the keys are
    there: etcd may lose a write that it has acknowledged (etcd#14370), and a put that was given up may come late, under
    a lease that ends.
    """

    def __init__(self, etcd: Etcd, ttl_s: int = TTL_S) -> None:
        self.lease_id = 0
        self.failed_renewals = 0
        self.on_lease: Callable[[int], Awaitable[None]] | None = None
        self.settled = asyncio.Event()
        """Set while all that was announced is in etcd, as far as is known here."""
        self._etcd = etcd
        self._ttl_s = ttl_s
        self._keys: dict[str, bytes] = {}
        self._announced: set[str] = set()
        self._given_up: list[int] = []
        self._lock = asyncio.Lock()
        self._lost = asyncio.Event()
        self._ends_s = -math.inf

    @property
    def held(self) -> bool:
        """Whether the lease lives, as far as this process can know: it was renewed within its time to live."""
        return bool(self.lease_id) and time.monotonic() < self._ends_s

    async def start(self) -> None:
        """Take the first lease; raise UnavailableError if etcd is away."""
        await self._renew()

    async def put(self, key: str, value: bytes) -> None:
        """Announce a key; with etcd away it is announced as soon as etcd is back."""
        self._keys[key] = value
        await self._apply(key)

    async def claim(self, key: str, value: bytes) -> bool:
        """Announce a key that nobody holds; return whether that was so. Raise UnavailableError if etcd is away."""
        async with self._lock:
            if not self.lease_id:
                raise UnavailableError(f"no lease to claim {key} under", retry_after_s=1.0)
            if not await self._etcd.commit([Compare(key, 0)], [Put(key, value, self.lease_id)]):
                held = await self._etcd.get(key)
                if held is None or held.value != value:
                    return False
                await self._etcd.put(key, value, self.lease_id)  # an earlier claim succeeded, its answer was lost
            self._keys[key] = value
            self._announced.add(key)
            return True

    async def delete(self, key: str) -> None:
        """Withdraw a key; with etcd away it is withdrawn as soon as etcd is back, or the lease has run out."""
        self._keys.pop(key, None)
        await self._apply(key)

    async def _apply(self, key: str) -> None:
        """Make etcd's key what was last said of it; without a lease the next renewal does that."""
        async with self._lock:
            if not self.lease_id:
                return
            try:
                if key in self._keys:
                    await self._etcd.put(key, self._keys[key], self.lease_id)
                    self._announced.add(key)
                else:
                    self._announced.discard(key)
                    await self._etcd.delete(key)
            except PASSING as error:
                log.warning("announcement waits for etcd", extra={"key": key, "reason": str(error)})
                self._give_up()

    def _give_up(self) -> None:
        self._given_up.append(self.lease_id)
        self.lease_id = 0
        self.settled.clear()
        self._lost.set()

    async def run(self) -> None:
        """Keep the lease alive until cancelled."""
        backoff = Backoff(0.2, 2.0)
        while True:
            try:
                if not self.lease_id or not await self._etcd.keep_alive(self.lease_id):
                    log.warning("lease lost, registering anew", extra={"lease": self.lease_id})
                    await self._renew()
                self._ends_s = time.monotonic() + self._ttl_s
                await self._mend()
                backoff.reset()
                await self._until_due()
            except PASSING as error:
                self.failed_renewals += 1
                log.warning("lease not renewed", extra={"reason": str(error)})
                await asyncio.sleep(backoff.next())

    async def _mend(self) -> None:
        """Announce anew what is gone though the lease lives; what another has announced by now is left to it."""
        async with self._lock:
            held = await self._etcd.keys_under(self.lease_id) if self.lease_id else set(self._keys)
            gone = [(key, value) for key, value in self._keys.items() if key in self._announced - held]
            for key, value in gone:
                if await self._etcd.commit([Compare(key, 0)], [Put(key, value, self.lease_id)]):
                    log.warning("key was gone, announced anew", extra={"key": key})

    async def _until_due(self) -> None:
        """Return when a third of the lease is over, or at once when it is given up."""
        try:
            async with asyncio.timeout(self._ttl_s / 3):
                await self._lost.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Revoke the lease, so that all its keys go at once; with etcd away they go when it has run out."""
        try:
            if self.lease_id:
                await self._etcd.revoke(self.lease_id)
        except PASSING as error:
            log.warning("lease left to run out", extra={"lease": self.lease_id, "reason": str(error)})

    async def _renew(self) -> None:
        async with self._lock:
            lease_id = await self._etcd.grant(self._ttl_s)
            self._given_up.append(lease_id)  # until all keys are under it
            if self.on_lease is not None:
                await self.on_lease(lease_id)
            for key, value in list(self._keys.items()):
                await self._etcd.put(key, value, lease_id)
                self._announced.add(key)
            self._given_up.remove(lease_id)
            self.lease_id = lease_id
            self.settled.set()
            self._lost.clear()
            while self._given_up:  # what was withdrawn meanwhile goes with them
                await self._etcd.revoke(self._given_up[-1])
                self._given_up.pop()


class Election:
    """Leadership by a leased key that one of several creates first."""

    def __init__(self, etcd: Etcd, key: str, value: bytes, ttl_s: int = TTL_S) -> None:
        self._etcd = etcd
        self._key = key
        self._value = value
        self._ttl_s = ttl_s
        self._term: Term | None = None
        self._past_failures = 0

    @property
    def held(self) -> bool:
        """Whether this process leads, as far as it can know."""
        return self._term is not None and self._term.held

    @property
    def failed_renewals(self) -> int:
        """How often a renewal of the leadership has failed, in all terms."""
        return self._past_failures + (self._term.failed_renewals if self._term else 0)

    async def campaign(self) -> Term:
        """Return once this process leads."""
        backoff = Backoff(0.2, 1.0)
        while True:
            try:
                lease_id = await self._etcd.grant(self._ttl_s)
                if await self._etcd.commit([Compare(self._key, 0)], [Put(self._key, self._value, lease_id)]):
                    return await self._begin(lease_id)
                await self._etcd.revoke(lease_id)
                await self._until_vacant()
            except PASSING as error:
                log.warning("no election without etcd", extra={"reason": str(error)})
                await asyncio.sleep(backoff.next())

    async def _begin(self, lease_id: int) -> Term:
        held = await self._etcd.get(self._key)
        if held is None or held.lease_id != lease_id:
            raise UnavailableError("leadership was lost at once")
        self._past_failures = self.failed_renewals
        self._term = Term(self._etcd, self._key, held.create_revision, lease_id, self._ttl_s)
        return self._term

    async def _until_vacant(self) -> None:
        async with contextlib.aclosing(self._etcd.follow(self._key)) as stream:
            async for _ in stream:
                if await self._etcd.get(self._key) is None:
                    return


class Term:
    """One term of leadership. `epoch` is the key's create revision: every write compares it, so that a deposed leader
    writes nothing.
    """

    def __init__(self, etcd: Etcd, key: str, epoch: int, lease_id: int, ttl_s: int) -> None:
        self.epoch = epoch
        self.failed_renewals = 0
        self.fence = Compare(key, epoch)
        self._etcd = etcd
        self._lease_id = lease_id
        self._ttl_s = ttl_s
        self._ends_s = time.monotonic() + ttl_s

    @property
    def held(self) -> bool:
        """Whether the lease lives, as far as this process can know: it was renewed within its time to live."""
        return time.monotonic() < self._ends_s

    async def hold(self) -> None:
        """Keep the lease alive; return when it is lost."""
        while True:
            try:
                if not await self._etcd.keep_alive(self._lease_id):
                    self._ends_s = -math.inf
                    return
                self._ends_s = time.monotonic() + self._ttl_s
            except PASSING as error:
                self.failed_renewals += 1
                log.warning("leadership not renewed", extra={"reason": str(error)})
            await asyncio.sleep(self._ttl_s / 5)

    async def resign(self) -> None:
        """Give the leadership up at once."""
        self._ends_s = -math.inf
        await self._etcd.revoke(self._lease_id)
