"""Holds: what collection must spare although no version refers to it (yet). They live in etcd, below `holds/`.

holds/{owner}/{part}   catalogue.Hold of at most 2,000 chunks; `part` is a hash of them, so that whoever asks again for
                       the same ones renews a hold and does not add one

Who has been told that chunks are held finds them as they are for as long as the hold lasts: the hold is committed
first, then whoever holds waits until none of the chunks is condemned. A collector condemns chunks first, then looks
once more at who holds them, and only then removes what is left (see collector.py). Of the two, the later one sees the
other.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from modelyard import codec, keys
from modelyard.catalogue import Hold
from modelyard.etcd import Delete, Etcd, Put
from modelyard.marks import MARK_DIGITS, mark, parts
from modelyard_registry.artifacts.store import sha256

DAY_S = 86_400.0
PART_MANIFESTS = 400
_PUTS = 16
"""Keys a transaction: well below etcd's 1.5 MiB."""


class Holds:
    """Puts and releases holds. An owner is any path of names, such as `upload/default/u1`."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def hold(
        self,
        owner: str,
        chunks: Sequence[str],
        manifests: Sequence[str] = (),
        *,
        ttl_s: float = DAY_S,
        tenant: str = "default",
    ) -> None:
        """Return once these are held, and none of them is about to be removed; what the owner held stays held.

        Ask the store only then which of them are there. A manifest is held with all its chunks: it must be in the
        store already, a collection that finds a manifest it cannot read stops.

        Args:
            owner: who holds; `release` names the same.
            chunks: sha256 of each.
            manifests: sha256 of each.
            ttl_s: when the hold ends by itself; 0: never.
            tenant: on whose behalf.

        Raises:
            UnavailableError: etcd is away.
        """
        expire_time_s = time.time() + ttl_s if ttl_s else 0.0
        puts = []
        for part in _parts(chunks, manifests):
            record = codec.encode(Hold(part.chunks, part.manifests, expire_time_s, tenant))
            name = sha256(codec.encode(part))[:MARK_DIGITS]
            puts.append(Put(keys.hold(f"{owner}/{name}"), record))
        revision = 0
        for start in range(0, len(puts), _PUTS):
            revision = await self._etcd.commit([], puts[start : start + _PUTS])
        await self._until_spared({mark(digest) for digest in chunks}, bool(manifests), revision)

    async def _until_spared(self, marks: set[str], any_chunk: bool, revision: int) -> None:
        """Wait while something that is held since a revision is condemned by who may not have seen that."""

        async def doomed() -> bool:
            found = await self._etcd.get(keys.CONDEMNED)
            if found is None or found.mod_revision > revision:
                return False
            return any_chunk or not marks.isdisjoint(codec.decode(list[str], found.value))

        if not await doomed():
            return
        async with contextlib.aclosing(self._etcd.follow(keys.CONDEMNED)) as changes:
            async for _ in changes:
                if not await doomed():
                    return

    async def release(self, owner: str) -> None:
        """End all that the owner holds; raise UnavailableError if etcd is away."""
        await self._etcd.commit([], [Delete(keys.hold(f"{owner}/"), prefix=True)])


def _parts(chunks: Sequence[str], manifests: Sequence[str]) -> Iterator[Hold]:
    for marks in parts(chunks):
        yield Hold(chunks=marks)
    for start in range(0, len(manifests), PART_MANIFESTS):
        yield Hold(manifests=tuple(manifests[start : start + PART_MANIFESTS]))
