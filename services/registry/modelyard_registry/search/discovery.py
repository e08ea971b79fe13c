"""Search: served from an index that follows etcd, not from etcd itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from modelyard import codec, keys
from modelyard.errors import UnavailableError
from modelyard.etcd import Change, Etcd, KeyValue, Listing
from modelyard_registry.search.families import Address, Record, address
from modelyard_registry.search.index import Index, Page

log = logging.getLogger(__name__)

STRIDE = 200
"""So many records are taken in before others get their turn."""


class Discovery:
    """Versions by conditions. What was written a moment ago may be missing; `revision` says how far it has come."""

    def __init__(self, etcd: Etcd) -> None:
        self.revision = 0
        self._etcd = etcd
        self._index = Index()
        self._known: dict[str, int] = {}
        self._filled = False

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        async with contextlib.aclosing(self._etcd.follow(keys.MODELS)) as stream:
            async for event in stream:
                if isinstance(event, Listing):
                    await self._compare(event)
                else:
                    self._apply(event)

    def search(self, filter_text: str, order_by: str, page_size: int, page_token: str) -> Page:
        """Return a page of versions; see Index.search.

        Raises:
            InvalidInputError: the filter, the order or the token is not understood.
            UnavailableError: the index is not filled yet.
        """
        if not self._filled:
            raise UnavailableError("search: the catalogue is still being read", retry_after_s=0.5)
        return self._index.search(filter_text, order_by, page_size, page_token)

    async def _compare(self, listing: Listing) -> None:
        """Take in what differs from the last known; all of it the first time."""
        for key in self._known.keys() - listing.items.keys():
            self._apply(Change(key, None, listing.revision))
        changed = [kv for kv in listing.items.values() if self._known.get(kv.key) != kv.mod_revision]
        for count, kv in enumerate(changed):
            self._apply(Change(kv.key, kv, kv.mod_revision))
            if count % STRIDE == STRIDE - 1:
                await asyncio.sleep(0)
        self.revision = listing.revision
        if not self._filled:
            self._index.search("", "", 1, "")  # builds what the first search would wait for
            self._filled = True

    def _apply(self, change: Change) -> None:
        place = address(change.key)
        if place is None:
            return
        self._index.apply(change.key, self._decoded(place, change))
        self._remember(change.key, change.value)
        self.revision = max(self.revision, change.revision)

    def _decoded(self, place: Address, change: Change) -> Record | None:
        """The record; None for one that is gone, or that nobody can read: it is not found, and harms no other."""
        try:
            return codec.decode(place.kind, change.value.value) if change.value else None
        except codec.MalformedError as error:
            log.error("record not understood", extra={"key": change.key, "reason": str(error)})
            return None

    def _remember(self, key: str, value: KeyValue | None) -> None:
        if value is None:
            self._known.pop(key, None)
        else:
            self._known[key] = value.mod_revision
