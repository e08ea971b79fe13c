"""Garbage collection: mark what versions and holds refer to, then sweep the store a batch of chunks at a time.

It never races an upload (see holds.py for the other side). For each batch: condemn it in etcd, under a lease; read once
more what versions and holds refer to, and spare that; remove the rest; acquit. A collector can be killed at any
moment: chunks go one by one, each only when nothing refers to it, and what it condemned is acquitted when its lease has
run out. One that was stopped for longer than that removes nothing when it wakes (see turn.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence

from modelyard import keys
from modelyard.catalogue import Collected
from modelyard.errors import ModelyardError, PreconditionError
from modelyard.etcd import Delete, Etcd
from modelyard.marks import mark
from modelyard_registry.artifacts.references import References
from modelyard_registry.artifacts.store import DIRECTORIES, ChunkStore
from modelyard_registry.artifacts.turn import TTL_S, Turn, turn
from modelyard_registry.catalogue.purge import Purge

log = logging.getLogger(__name__)

BATCH_CHUNKS = 1_000
"""So many chunks are condemned at a time: their key stays below 64 KiB."""

LISTED_AT_ONCE = 8
"""So many of the store's 256 directories."""


class Collector:
    """Collects, for one replica; in all of them together, one at a time."""

    def __init__(self, etcd: Etcd, store: ChunkStore, name: str, ttl_s: float = TTL_S) -> None:
        """`name`: who others are told is collecting; `ttl_s`: how long what a killed one condemned stays condemned."""
        self._etcd = etcd
        self._store = store
        self._name = name
        self._ttl_s = ttl_s
        self._purge = Purge(etcd)
        self.outcomes: Counter[str] = Counter()
        """How many collections came to their end, and how many failed; dry runs do not count."""
        self.removed_bytes = 0

    async def collect(self, *, dry_run: bool = False, uploads: bool = False) -> Collected:
        """Purge what was deleted and is past its time, then remove the chunks that nobody refers to or holds.

        Cancelled, it ends with the removal under way. A dry run changes nothing, and may run beside others. With
        `uploads`, what uploads hold that have not been published is let go first.

        Raises:
            PreconditionError: another collection is under way.
            DataLossError: a version's manifest cannot be read: what it keeps is not known, so nothing is removed.
            AbortedError: the collector's lease ended too early.
            UnavailableError: etcd or the store is away.
        """
        if dry_run:
            return await self._collect(None, passed_over=(keys.UPLOADS,) if uploads else ())
        async with turn(self._etcd, self._name, self._ttl_s) as mine:
            if uploads:
                await self._etcd.commit([], [Delete(keys.hold(keys.UPLOADS), prefix=True)])
            with self._counted():
                return await self._collect(mine)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.outcomes["failed"] += 1
            raise
        self.outcomes["done"] += 1

    async def _collect(self, mine: Turn | None, passed_over: Sequence[str] = ()) -> Collected:
        now_s = time.time()
        purged = await self._purge.run(now_s, dry_run=mine is None)
        references = References(self._etcd, self._store, now_s, () if mine else (*purged, *passed_over))
        await references.read()
        sweep = _Sweep(self._store, references)
        try:
            async for batch in sweep.batches():
                await sweep.remove(batch, mine)
        finally:
            self.removed_bytes += sweep.removed_bytes if mine else 0
        return sweep.collected(purged)

    async def run(self, every_s: float) -> None:
        """Collect again and again, until cancelled; with `every_s` 0, never."""
        while every_s > 0:
            await asyncio.sleep(every_s * random.uniform(0.5, 1.0))  # noqa: S311 (so that replicas take turns)
            try:
                collected = await self.collect()
            except PreconditionError as error:
                log.info("not collected", extra={"reason": str(error)})
            except (ModelyardError, OSError) as error:
                log.error("collection failed", extra={"reason": str(error)})
            else:
                log.info("collected", extra={"chunks": collected.removed_chunks, "bytes": collected.removed_bytes})


class _Sweep:
    """One way through the store, and what it met."""

    def __init__(self, store: ChunkStore, references: References) -> None:
        self._store = store
        self._references = references
        self._seen_chunks = self._seen_bytes = 0
        self._removed_chunks = self.removed_bytes = 0

    async def batches(self) -> AsyncIterator[dict[str, int]]:
        """Yield chunks that nobody refers to, with their sizes, up to 1,000 at a time."""
        found: dict[str, int] = {}
        for start in range(0, len(DIRECTORIES), LISTED_AT_ONCE):
            listings = [self._store.chunks(first) for first in DIRECTORIES[start : start + LISTED_AT_ONCE]]
            chunks = dict(itertools.chain.from_iterable(await asyncio.gather(*listings)))
            self._seen_chunks += len(chunks)
            self._seen_bytes += sum(chunks.values())
            found |= self._references.unknown(chunks)
            while len(found) >= BATCH_CHUNKS:
                yield {digest: found.pop(digest) for digest in list(found)[:BATCH_CHUNKS]}
        if found:
            yield found

    async def remove(self, batch: dict[str, int], mine: Turn | None) -> None:
        """Remove what nobody refers to by now; without a turn only count it."""
        if mine is None:
            self._count(batch.values())
            return
        await mine.condemn([mark(digest) for digest in batch])
        await self._references.refresh()
        left = self._references.unknown(batch)
        mine.unsettled = True
        removed = await self._store.remove(list(left), mine.check)
        mine.unsettled = False
        await mine.acquit()
        self._count([left[digest] for digest in removed])

    def _count(self, sizes: Collection[int]) -> None:
        self._removed_chunks += len(sizes)
        self.removed_bytes += sum(sizes)

    def collected(self, purged: list[str]) -> Collected:
        """What became of it all."""
        return Collected(
            removed_chunks=self._removed_chunks,
            removed_bytes=self.removed_bytes,
            kept_chunks=self._seen_chunks - self._removed_chunks,
            kept_bytes=self._seen_bytes - self.removed_bytes,
            purged=tuple(purged),
        )
