"""Search: served from an index that follows etcd, not from etcd itself."""

from __future__ import annotations

import asyncio
import contextlib

from modelyard import keys, revisions
from modelyard.errors import UnavailableError
from modelyard.etcd import Change, Etcd, Listing, Put
from modelyard_registry.search.families import address
from modelyard_registry.search.freshness import check_reached
from modelyard_registry.search.index import Index, Page
from modelyard_registry.search.records import read_record

STRIDE = 200
"""So many records are taken in before others get their turn."""
PATIENCE_S = 0.1
"""How long a revision may take to show up before a fence is set behind it."""
WAIT_S = 5.0
"""How long a search waits for a revision, if its deadline is not sooner: another replica may have come further."""


class Discovery:
    """Versions by conditions. What was written a moment ago may be missing; `revision` says how far it has come.

    It follows all of Modelyard's keys, so that every change of ours moves `revision` on; it lists those below models/.
    """

    def __init__(self, etcd: Etcd) -> None:
        self.revision = 0
        self._etcd = etcd
        self._index = Index()
        self._known: dict[str, int] = {}
        self._filled = False
        self._moved = asyncio.Event()
        self._fencing = asyncio.Lock()
        self._fence = 0

    @property
    def models(self) -> int:
        """How many models there are, as far as it has come."""
        return self._index.models

    @property
    def versions(self) -> int:
        """How many versions there are, as far as it has come."""
        return len(self._index)

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        async with contextlib.aclosing(self._etcd.follow(keys.PREFIX, keys.MODELS)) as stream:
            async for event in stream:
                if isinstance(event, Listing):
                    await self._compare(event)
                else:
                    self._apply(event)
                    self._move(event.revision)

    def search(self, filter_text: str, order_by: str, page_size: int, page_token: str) -> Page:
        """Return a page of versions; see Index.search.

        Raises:
            InvalidInputError: the filter, the order or the token is not understood.
            UnavailableError: the index is not filled yet.
        """
        if not self._filled:
            raise UnavailableError("search: the catalogue is still being read", retry_after_s=0.5)
        revisions.note(self.revision)
        return self._index.search(filter_text, order_by, page_size, page_token)

    async def reach(self, revision: int) -> None:
        """Return once the index has come as far as a revision.

        Raises:
            PreconditionError: etcd itself has not.
            UnavailableError: etcd does not answer, or the index has not come so far within 5 s.
        """
        if self.revision >= revision:
            return
        await check_reached(self._etcd, revision)
        try:
            async with asyncio.timeout(WAIT_S):
                with revisions.apart():  # a fence is behind what is waited for
                    await self._follow_to(revision)
        except TimeoutError:
            raise UnavailableError(
                f"search: the index is at revision {self.revision}, and {revision} was asked for", retry_after_s=0.1
            ) from None

    async def _follow_to(self, revision: int) -> None:
        """Wait for a revision; one that others made, in keys that are not ours, shows only by a fence behind it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._moved_to(revision)
        if self.revision < revision:
            await self._set_fence(revision)
            await self._moved_to(revision)

    async def _moved_to(self, revision: int) -> None:
        while self.revision < revision:
            await self._moved.wait()

    async def _set_fence(self, revision: int) -> None:
        """Write something of ours after a revision, unless that has been done."""
        async with self._fencing:
            if self._fence < revision:
                self._fence = await self._etcd.commit([], [Put(keys.FENCE, b"")])

    def _move(self, revision: int) -> None:
        if revision != self.revision:
            self.revision = revision
            self._moved.set()
            self._moved = asyncio.Event()

    async def _compare(self, listing: Listing) -> None:
        """Take in what differs from the last known; all of it the first time.

        All of it too after etcd was restored from a backup: a revision may stand for another change then.
        """
        restored = listing.revision < self.revision
        for key in self._known.keys() - listing.items.keys():
            self._apply(Change(key, None, listing.revision))
        changed = [kv for kv in listing.items.values() if restored or self._known.get(kv.key) != kv.mod_revision]
        for count, kv in enumerate(changed):
            self._apply(Change(kv.key, kv, kv.mod_revision))
            if count % STRIDE == STRIDE - 1:
                await asyncio.sleep(0)
        if not self._filled:
            self._index.search("", "", 1, "")  # builds what the first search would wait for
            self._filled = True
        self._fence = min(self._fence, listing.revision)
        self._move(listing.revision)

    def _apply(self, change: Change) -> None:
        place = address(change.key)
        if place is None:
            return
        self._index.apply(change.key, read_record(place, change.value) if change.value else None)
        if change.value is None:
            self._known.pop(change.key, None)
        else:
            self._known[change.key] = change.value.mod_revision
