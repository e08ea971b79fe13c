"""Watches: every change below a prefix, whatever becomes of the stream that tells them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from itertools import groupby
from typing import Any

import grpc
import grpc.aio
from aetcd import rpc

from modelyard.backoff import Backoff
from modelyard.errors import PASSING, UnavailableError
from modelyard.etcd.channel import HistoryLostError
from modelyard.etcd.keyspace import Keyspace
from modelyard.etcd.messages import Batch, Change, KeyValue, Listing, encoded, prefix_end

log = logging.getLogger(__name__)
EOF = grpc.aio.EOF  # type: ignore[attr-defined]

REQUIRE_LEADER = (("hasleader", "true"),)
"""A member that has lost the others ends a watch that says this, instead of staying silent."""


class Transactions:
    """Puts the events of one watch together to whole transactions, from a revision on.

    Of a transaction, etcd sends all events in one response, unless that becomes too large: then in fragments, of which
    each but the last says that another follows.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._changes: list[Change] = []

    def add(self, response: Any) -> list[Batch]:
        """Take in a response; return what is complete with it. One without events says how far the watch has come."""
        if not response.events and not response.fragment:
            return [Batch(response.header.revision)]
        self._changes += [Change.read(e) for e in response.events if e.kv.mod_revision >= self._start]
        found = [Batch(revision, tuple(some)) for revision, some in groupby(self._changes, lambda c: c.revision)]
        self._changes = list(found.pop().changes) if found and response.fragment else []
        return found


class Watches(Keyspace):
    """Following what happens to keys."""

    async def follow(self, prefix: str, listed: str = "") -> AsyncGenerator[Listing | Change, None]:
        """List, then watch from that revision, for ever: a broken watch is followed by a new listing.

        A Listing replaces all that was known. (To go on where a broken watch was would not show what etcd has lost
        meanwhile: etcd#14370, or a backup that was restored.) Between the changes of one transaction nothing else gets
        its turn.

        Args:
            prefix: of the keys whose changes are told.
            listed: of those of them that are listed; empty: all.
        """
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                listing = await self._whole(listed or prefix)
                yield listing
                async with contextlib.aclosing(self._batches(prefix, listing.revision + 1)) as batches:
                    async for batch in batches:
                        backoff.reset()
                        for change in batch.changes:
                            yield change
            except (HistoryLostError, *PASSING) as error:
                log.warning("watch broke", extra={"prefix": prefix, "reason": str(error)})
                await asyncio.sleep(backoff.next())

    async def _whole(self, prefix: str) -> Listing:
        """Every key below the prefix; read in pages, between which others get their turn."""
        items: dict[str, KeyValue] = {}
        async for page in self.snapshot(prefix):
            items |= page.items
        return Listing(page.revision, items)

    async def watch(self, prefix: str, start: int) -> AsyncGenerator[Batch, None]:
        """Yield every transaction that changes something below the prefix, from revision `start` on, for ever.

        None is left out and none comes twice: a stream that breaks is followed by one that begins where it was. While
        etcd is away this waits.

        Raises:
            HistoryLostError: etcd no longer has all changes from there on.
        """
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                async with contextlib.aclosing(self._batches(prefix, start)) as batches:
                    async for batch in batches:
                        start = max(start, batch.revision + 1)
                        backoff.reset()
                        if batch.changes:
                            yield batch
            except PASSING as error:
                facts = {"prefix": prefix, "revision": start, "reason": str(error)}
                log.warning("watch broke, going on where it was", extra=facts)
                await asyncio.sleep(backoff.next())

    async def _batches(self, prefix: str, start: int) -> AsyncGenerator[Batch, None]:
        """One watch, from revision `start` on, until it breaks.

        It begins a revision earlier: a watch from the very revision that was compacted is not refused, but lacks the
        deletions of that revision (etcd before 3.5.16, etcd#18089).
        """
        transactions = Transactions(start)
        async with contextlib.aclosing(self._replies(prefix, start)) as replies:
            async for reply in replies:
                if reply.created:
                    await self._check_reached(start - 1, reply.header.revision)
                    continue
                for batch in transactions.add(reply):
                    yield batch

    async def _replies(self, prefix: str, start: int) -> AsyncGenerator[Any, None]:
        create = rpc.WatchCreateRequest(
            key=encoded(prefix),
            range_end=prefix_end(prefix),
            start_revision=max(1, start - 1),
            progress_notify=True,
            fragment=True,
        )
        async with self._member() as member:
            call = member.watch.Watch(metadata=REQUIRE_LEADER)
            try:
                await call.write(rpc.WatchRequest(create_request=create))
                while True:
                    reply = await call.read()
                    _check_going_on(prefix, start, reply)
                    yield reply
            finally:
                call.cancel()

    async def _check_reached(self, revision: int, told: int) -> None:
        """Raise HistoryLostError unless etcd has come as far as a revision; the member that told may only lag."""
        if told < revision and (newest := await self.revision()) < revision:
            raise HistoryLostError(f"etcd was at revision {revision} and is at {newest}: it was restored from a backup")


def _check_going_on(prefix: str, start: int, reply: Any) -> None:
    if reply is not EOF and reply.compact_revision:
        raise HistoryLostError(
            f"etcd has no history from revision {start} on: it is compacted up to {reply.compact_revision}"
        )
    if reply is EOF or reply.canceled:
        raise UnavailableError(f"etcd ended the watch of {prefix}")
