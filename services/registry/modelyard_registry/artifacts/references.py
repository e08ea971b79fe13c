"""What a collection must spare: the chunks of all versions, deleted ones too until they are purged, and all holds.

Holds are always read before versions: who publishes holds its chunks until the version is committed, so that of the
two at least one is seen.

A manifest that cannot be read stops a collection, as nobody knows what it keeps. That of a checkpoint of a training job
does not: nobody can go on from it, and others that the job has are held by themselves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TypeVar

from modelyard import codec, keys
from modelyard.catalogue import Hold, Version
from modelyard.errors import DataLossError, NotFoundError
from modelyard.etcd import Etcd, KeyValue
from modelyard.marks import MARK_DIGITS
from modelyard_registry.artifacts.manifests import load_manifest
from modelyard_registry.artifacts.marks import Marks
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.catalogue.purge import has_expired
from modelyard_registry.catalogue.scan import scan

log = logging.getLogger(__name__)
T = TypeVar("T")
Marking = Callable[[str, str], Awaitable[None]]
"""Marks what a manifest keeps: whose it is, its digest."""

READ_AT_ONCE = 8
"""So many manifests: one of 100,000 chunks takes some 30 MB while it is read."""


class References:
    """Reads them: all at first, then what has changed. Nothing that was once marked is unmarked."""

    def __init__(self, etcd: Etcd, store: ChunkStore, now_s: float, passed_over: Collection[str] = ()) -> None:
        """`now_s` says which holds have expired; `passed_over`: versions, models and owners/ that keep nothing."""
        self._etcd = etcd
        self._store = store
        self._now_s = now_s
        self._passed_over = frozenset(passed_over)
        self._owners = tuple(name for name in passed_over if name.endswith("/"))
        self._marks = Marks()
        self._read: set[str] = set()
        self._revision = 0

    async def read(self) -> None:
        """Mark all that is kept or held.

        Raises:
            DataLossError: a record or a manifest, but a checkpoint's, cannot be read.
            UnavailableError: etcd or the store is away.
        """
        self._revision = await self._etcd.revision()
        async for page in scan(self._etcd, keys.HOLDS):
            await self._mark_holds(page)
        async for page in scan(self._etcd, keys.MODELS):
            await self._mark_versions(page)

    async def refresh(self) -> None:
        """Mark what is kept or held by now, also by what came after the last reading; raise as `read`."""
        holds = await self._etcd.list(keys.HOLDS, self._revision)
        await self._mark_holds(holds.items.values())
        records = await self._etcd.list(keys.MODELS, self._revision)
        await self._mark_versions(records.items.values())
        self._revision = holds.revision

    def unknown(self, chunks: dict[str, int]) -> dict[str, int]:
        """Return those that nobody refers to or holds, of chunks and their sizes."""
        return self._marks.without(chunks)

    async def _mark_holds(self, records: Iterable[KeyValue]) -> None:
        manifests: list[tuple[str, str]] = []
        checkpoints: list[tuple[str, str]] = []
        for kv in records:
            owner = kv.key.removeprefix(keys.HOLDS)
            hold = _decoded(Hold, kv)
            if has_expired(hold, self._now_s) or owner.startswith(self._owners):
                continue
            if any(len(chunk) < MARK_DIGITS or not _is_hex(chunk) for chunk in hold.chunks):
                raise DataLossError(f"collection stopped: the hold of {owner} names something that is no chunk")
            self._marks.add(hold.chunks)
            named = [(f"the hold of {owner}", digest) for digest in hold.manifests]
            (checkpoints if keys.holds_checkpoints(owner) else manifests).extend(named)
        await self._mark_manifests(manifests, self._mark_manifest)
        await self._mark_manifests(checkpoints, self._mark_checkpoint)

    async def _mark_versions(self, records: Iterable[KeyValue]) -> None:
        manifests: list[tuple[str, str]] = []
        for kv in records:
            model, _, rest = kv.key.removeprefix(keys.MODELS).partition("/")
            kind, _, name = rest.partition("/")
            reference = f"{model}@{name}"
            if kind == "versions" and self._passed_over.isdisjoint((model, reference)):
                manifests.append((reference, _decoded(Version, kv).manifest_digest))
        await self._mark_manifests(manifests, self._mark_manifest)

    async def _mark_manifests(self, manifests: Sequence[tuple[str, str]], mark: Marking) -> None:
        wanted = {digest: owner for owner, digest in manifests if digest not in self._read}
        digests = list(wanted)
        for start in range(0, len(digests), READ_AT_ONCE):
            reads = [mark(wanted[digest], digest) for digest in digests[start : start + READ_AT_ONCE]]
            for failure in await asyncio.gather(*reads, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _mark_manifest(self, owner: str, digest: str) -> None:
        try:
            manifest = await load_manifest(self._store, digest)
        except (NotFoundError, DataLossError) as error:
            raise DataLossError(f"collection stopped: the manifest of {owner} cannot be read: {error}") from error
        self._marks.add([digest, *manifest.chunk_sizes()])
        self._read.add(digest)

    async def _mark_checkpoint(self, owner: str, digest: str) -> None:
        try:
            await self._mark_manifest(owner, digest)
        except DataLossError as error:
            log.error("checkpoint passed over", extra={"checkpoint": digest, "owner": owner, "reason": str(error)})


def _decoded(kind: type[T], kv: KeyValue) -> T:
    try:
        return codec.decode(kind, kv.value)
    except codec.MalformedError as error:
        raise DataLossError(f"collection stopped: the record {kv.key} cannot be read: {error}") from error


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)
