"""Reading keys, all linearizably, and writing them in transactions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from aetcd import rpc

from modelyard.etcd.channel import Channel
from modelyard.etcd.messages import Compare, Delete, KeyValue, Listing, Put, decoded, encoded, prefix_end

PAGE = 250


class Keyspace(Channel):
    """etcd's keys and values."""

    async def get(self, key: str) -> KeyValue | None:
        """Return the key (linearizable read), or None."""
        reply = await self._call("kv", "Range", rpc.RangeRequest(key=encoded(key)))
        return KeyValue.read(reply.kvs[0]) if reply.kvs else None

    async def list(self, prefix: str, after: int = 0) -> Listing:
        """Return every key below the prefix; with `after`, only those that were changed after that revision."""
        request = rpc.RangeRequest(
            key=encoded(prefix), range_end=prefix_end(prefix), min_mod_revision=after + 1 if after else 0
        )
        return Listing.read(await self._call("kv", "Range", request))

    async def page(self, prefix: str, start: str, limit: int) -> Sequence[KeyValue]:
        """Return at most `limit` keys below the prefix, from `start` on, in key order."""
        request = rpc.RangeRequest(key=encoded(start), range_end=prefix_end(prefix), limit=limit)
        reply = await self._call("kv", "Range", request)
        return [KeyValue.read(kv) for kv in reply.kvs]

    async def snapshot(self, prefix: str) -> AsyncGenerator[Listing, None]:
        """Yield every key below the prefix in key order, page by page, all as they were at the first page's revision.

        There is at least one page, perhaps an empty one.

        Raises:
            HistoryLostError: that revision was compacted away before the last page.
        """
        start, revision = encoded(prefix), 0
        while True:
            request = rpc.RangeRequest(key=start, range_end=prefix_end(prefix), limit=PAGE, revision=revision)
            reply = await self._call("kv", "Range", request)
            revision = revision or reply.header.revision
            yield Listing(revision, Listing.read(reply).items)
            if not reply.more:
                return
            start = reply.kvs[-1].key + b"\0"

    async def keys(self, prefix: str) -> Sequence[str]:
        """Return every key below the prefix in key order, without the values."""
        request = rpc.RangeRequest(key=encoded(prefix), range_end=prefix_end(prefix), keys_only=True)
        return [decoded(kv.key) for kv in (await self._call("kv", "Range", request)).kvs]

    async def newest(self, prefix: str, limit: int, at: int = 0) -> Sequence[KeyValue]:
        """Return at most `limit` keys below the prefix, those that were created last, the newest first.

        They are as they were at the revision `at`; 0: as they are now.
        """
        request = rpc.RangeRequest(
            key=encoded(prefix),
            range_end=prefix_end(prefix),
            sort_target=rpc.RangeRequest.CREATE,
            sort_order=rpc.RangeRequest.DESCEND,
            limit=limit,
            revision=at,
        )
        return [KeyValue.read(kv) for kv in (await self._call("kv", "Range", request)).kvs]

    async def revision(self) -> int:
        """Return the newest revision (linearizable read)."""
        reply = await self._call("kv", "Range", rpc.RangeRequest(key=b"/", count_only=True))
        return int(reply.header.revision)

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """Apply all operations if every condition holds; return the revision that they made, 0 if one does not hold."""
        request = rpc.TxnRequest(compare=[c.message() for c in compares], success=[o.message() for o in operations])
        reply = await self._call("kv", "Txn", request)
        return int(reply.header.revision) if reply.succeeded else 0

    async def put(self, key: str, value: bytes, lease_id: int = 0) -> None:
        """Set the key, whatever it was."""
        await self._call("kv", "Put", rpc.PutRequest(key=encoded(key), value=value, lease=lease_id))

    async def delete(self, key: str) -> None:
        """Delete the key, if it is there."""
        await self._call("kv", "DeleteRange", rpc.DeleteRangeRequest(key=encoded(key)))
