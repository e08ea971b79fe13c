"""Uploads: which chunks must still be sent, and that those which need not be are there when their version is made."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import InvalidInputError
from modelyard.keys import upload_owner
from modelyard.marks import mark
from modelyard.names import check_name
from modelyard_registry.artifacts.holds import DAY_S, Holds
from modelyard_registry.artifacts.store import ChunkStore, check_digest, sha256

MAX_DIGESTS = 10_000


class Uploads:
    """What clients are sending. An upload is known by the name that its client gave it, and its tenant."""

    def __init__(self, holds: Holds, store: ChunkStore) -> None:
        self._holds = holds
        self._store = store

    async def missing(self, digests: Sequence[str], upload: str, tenant: str) -> list[str]:
        """Hold all of these chunks for a day, then return those that the store lacks, in their order.

        Args:
            digests: sha256 of each, at most 10,000.
            upload: the name of the upload; empty: one is made up of the digests.
            tenant: whose upload it is.

        Raises:
            InvalidInputError: a digest or the name is malformed, or these are too many.
            UnavailableError: etcd or the store is away.
        """
        if len(digests) > MAX_DIGESTS:
            raise InvalidInputError(f"digests: expected at most {MAX_DIGESTS} a question, got {len(digests)}")
        for digest in digests:
            check_digest(digest)
        name = upload or mark(sha256("".join(digests).encode()))
        await self._holds.hold(owner_of(name, tenant), digests, ttl_s=DAY_S, tenant=tenant)
        return [digest for digest, size_bytes in (await self._store.sizes(digests)).items() if size_bytes is None]

    async def release(self, upload: str, tenant: str) -> None:
        """End what was held for an upload; raise UnavailableError if etcd is away."""
        await self._holds.release(owner_of(upload, tenant))


def owner_of(upload: str, tenant: str) -> str:
    """Who holds the chunks of an upload; raise InvalidInputError unless its name is one."""
    return upload_owner(tenant, check_name("upload", upload))
