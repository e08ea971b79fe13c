"""Watch: the catalogue's changes as they happen, each watch on an etcd watch of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator

from modelyard import keys
from modelyard.catalogue import Alias, Model, Resources, Signature, Version
from modelyard.errors import InvalidInputError
from modelyard.etcd import Change, Etcd, HistoryLostError
from modelyard.events import CatalogueEvent, EventKind
from modelyard.names import check_name
from modelyard_registry.search.families import Address, Record, address
from modelyard_registry.search.records import read_record

log = logging.getLogger(__name__)


def event_of(change: Change) -> CatalogueEvent | None:
    """Return what a change of a key tells; None for a key of something else, or a record that is not understood."""
    place = address(change.key)
    if place is None:
        return None
    if change.value is None:
        return CatalogueEvent(EventKind.DELETE, change.revision, place.model, _named(place))
    record = read_record(place, change.value)
    return CatalogueEvent(EventKind.PUT, change.revision, place.model, record) if record else None


def _named(place: Address) -> Record:
    """A record of which only the names are known."""
    if place.kind is Version:
        return Version(place.model, place.name, "", Signature(), Resources(), "", 0)
    return Alias(place.name, "") if place.kind is Alias else Model(place.model)


def _events_of(changes: Iterable[Change]) -> Iterator[CatalogueEvent]:
    return filter(None, map(event_of, changes))


class Feed:
    """The changes of models, versions and aliases.

    What is not read stays with etcd: a watch holds no more than a page of keys, or one transaction and one response
    of etcd's (about 2 MiB).
    """

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def open(self, start: int, name_prefix: str) -> AsyncGenerator[CatalogueEvent, None]:
        """Return a stream of events without end, of the models whose names begin with a prefix.

        The changes from revision `start` on, without a gap; for 0 everything that is there, SYNCED, then the changes.
        Where etcd no longer has them all: RESET, and then as for 0. The revision of an event is the one to go on from
        where the stream breaks after it: 0 until SYNCED.

        Raises:
            InvalidInputError: the revision is negative, or no name begins so.
            UnavailableError: etcd does not answer. Once the stream has begun it waits for etcd instead, except while
                it tells what is there.
        """
        if start < 0:
            raise InvalidInputError(f"start_revision: expected 0 or more, got {start}")
        if name_prefix:
            check_name("model", name_prefix)
        await self._etcd.revision()
        return self._events(keys.model(name_prefix), start)

    async def _events(self, prefix: str, start: int) -> AsyncGenerator[CatalogueEvent, None]:
        while True:
            try:
                async with contextlib.aclosing(self._from(prefix, start)) as events:
                    async for event in events:
                        yield event
            except HistoryLostError as error:
                log.warning("watch begins anew", extra={"prefix": prefix, "reason": str(error)})
                start = 0
                yield CatalogueEvent(EventKind.RESET, 0)

    async def _from(self, prefix: str, start: int) -> AsyncGenerator[CatalogueEvent, None]:
        if not start:
            async for page in self._etcd.snapshot(prefix):
                for event in _events_of(Change(kv.key, kv, 0) for kv in page.items.values()):
                    yield event
            yield CatalogueEvent(EventKind.SYNCED, page.revision)
            start = page.revision + 1
        async with contextlib.aclosing(self._etcd.watch(prefix, start)) as batches:
            async for batch in batches:
                for event in _events_of(batch.changes):
                    yield event
