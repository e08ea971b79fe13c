"""The one module that speaks to etcd: keys, transactions, leases and watches over a channel of our own.

It uses the generated messages and stubs of aetcd, not its client, which opens an insecure channel to one address and
whose watch ends with an error when etcd restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from aetcd import rpc

from modelyard import codec
from modelyard.backoff import Backoff
from modelyard.errors import InvalidInputError, UnavailableError

log = logging.getLogger(__name__)
EOF = grpc.aio.EOF  # type: ignore[attr-defined]
T = TypeVar("T")

TIMEOUT_S = 5.0
RELIST_S = 60.0
"""How often a mirror lists anew even though its watch seems well."""
CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True)
class KeyValue:
    """A key's value and when it was created and last changed."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease_id: int


@dataclass(frozen=True)
class Compare:
    """A condition of a transaction: the key's create or mod revision equals `revision` (0: there is no key).

    With `prefix`, of every key that begins with it; for 0: there is none. With `less`: is less than it, which
    holds too where there is no key.
    """

    key: str
    revision: int
    target: str = "create"
    prefix: bool = False
    less: bool = False

    def message(self) -> Any:
        """As etcd's message."""
        target = rpc.Compare.CREATE if self.target == "create" else rpc.Compare.MOD
        fields = {f"{self.target}_revision": self.revision}
        end = prefix_end(self.key) if self.prefix else b""
        result = rpc.Compare.LESS if self.less else rpc.Compare.EQUAL
        return rpc.Compare(key=self.key.encode(), range_end=end, result=result, target=target, **fields)


@dataclass(frozen=True)
class Put:
    """An operation of a transaction."""

    key: str
    value: bytes
    lease_id: int = 0

    def message(self) -> Any:
        """As etcd's message."""
        put = rpc.PutRequest(key=self.key.encode(), value=self.value, lease=self.lease_id)
        return rpc.RequestOp(request_put=put)


@dataclass(frozen=True)
class Delete:
    """An operation of a transaction; with `prefix`, of every key that begins with it."""

    key: str
    prefix: bool = False

    def message(self) -> Any:
        """As etcd's message."""
        end = prefix_end(self.key) if self.prefix else b""
        return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=self.key.encode(), range_end=end))


@dataclass(frozen=True)
class Change:
    """What a watch saw: a new value, or with None the end of a key; and the revision of that."""

    key: str
    value: KeyValue | None
    revision: int


@dataclass(frozen=True)
class Listing:
    """Every key below a prefix at one revision."""

    revision: int
    items: dict[str, KeyValue]


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with the prefix (our prefixes end in ASCII)."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])


def _key_value(kv: Any) -> KeyValue:
    return KeyValue(kv.key.decode(), kv.value, kv.create_revision, kv.mod_revision, kv.lease)


class Etcd:
    """etcd's v3 API as far as Modelyard uses it.

    Every call raises UnavailableError when etcd does not answer, and InvalidInputError when a value is too large for
    it (1.5 MiB).
    """

    def __init__(self, endpoints: str) -> None:
        """`endpoints`: host:port, several separated by commas."""
        self.endpoints = endpoints
        addresses = [e.strip().removeprefix("http://") for e in endpoints.split(",")]
        target = addresses[0] if len(addresses) == 1 else "ipv4:" + ",".join(addresses)
        options = [
            *CHANNEL_OPTIONS,
            ("grpc.lb_policy_name", "round_robin" if len(addresses) > 1 else "pick_first"),
        ]
        self._channel = grpc.aio.insecure_channel(target, options=options)
        self._kv = rpc.KVStub(self._channel)
        self._watch = rpc.WatchStub(self._channel)
        self._lease = rpc.LeaseStub(self._channel)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close(None)

    async def _call(self, method: Callable[..., Awaitable[Any]], request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        try:
            return await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            details = str(error.details())
            if "too large" in details or "larger than max" in details:
                raise InvalidInputError(f"etcd: {details}") from error
            raise UnavailableError(f"etcd at {self.endpoints}: {details}", retry_after_s=1.0) from error

    async def wait_ready(self) -> None:
        """Return once etcd answers; until then say every few seconds what is waited for."""
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                await self._call(self._kv.Range, rpc.RangeRequest(key=b"/", count_only=True), 2.0)
            except UnavailableError as error:
                delay_s = backoff.next()
                log.warning("waiting for etcd", extra={"endpoints": self.endpoints, "reason": str(error)})
                await asyncio.sleep(delay_s)
            else:
                return

    async def get(self, key: str) -> KeyValue | None:
        """Return the key (linearizable read), or None."""
        reply = await self._call(self._kv.Range, rpc.RangeRequest(key=key.encode()))
        return _key_value(reply.kvs[0]) if reply.kvs else None

    async def list(self, prefix: str) -> Listing:
        """Return every key below the prefix."""
        reply = await self._call(self._kv.Range, rpc.RangeRequest(key=prefix.encode(), range_end=prefix_end(prefix)))
        return Listing(reply.header.revision, {kv.key.decode(): _key_value(kv) for kv in reply.kvs})

    async def page(self, prefix: str, start: str, limit: int) -> Sequence[KeyValue]:
        """Return at most `limit` keys below the prefix, from `start` on, in key order."""
        request = rpc.RangeRequest(key=start.encode(), range_end=prefix_end(prefix), limit=limit)
        reply = await self._call(self._kv.Range, request)
        return [_key_value(kv) for kv in reply.kvs]

    async def keys(self, prefix: str) -> Sequence[str]:
        """Return every key below the prefix in key order, without the values."""
        request = rpc.RangeRequest(key=prefix.encode(), range_end=prefix_end(prefix), keys_only=True)
        return [kv.key.decode() for kv in (await self._call(self._kv.Range, request)).kvs]

    async def newest(self, prefix: str) -> KeyValue | None:
        """Return the key below the prefix that was created last, or None."""
        request = rpc.RangeRequest(
            key=prefix.encode(),
            range_end=prefix_end(prefix),
            sort_target=rpc.RangeRequest.CREATE,
            sort_order=rpc.RangeRequest.DESCEND,
            limit=1,
        )
        reply = await self._call(self._kv.Range, request)
        return _key_value(reply.kvs[0]) if reply.kvs else None

    async def commit(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> int:
        """Apply all operations if every condition holds; return the revision that they made, 0 if one does not hold."""
        request = rpc.TxnRequest(compare=[c.message() for c in compares], success=[o.message() for o in operations])
        reply = await self._call(self._kv.Txn, request)
        return int(reply.header.revision) if reply.succeeded else 0

    async def put(self, key: str, value: bytes, lease_id: int = 0) -> None:
        """Set the key, whatever it was."""
        await self._call(self._kv.Put, rpc.PutRequest(key=key.encode(), value=value, lease=lease_id))

    async def delete(self, key: str) -> None:
        """Delete the key, if it is there."""
        await self._call(self._kv.DeleteRange, rpc.DeleteRangeRequest(key=key.encode()))

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        return int((await self._call(self._lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=ttl_s))).ID)

    async def revoke(self, lease_id: int) -> None:
        """End a lease and all its keys; a lease that is no more is no error."""
        try:
            await self._lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease_id), timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise UnavailableError(f"etcd at {self.endpoints}: {error.details()}") from error

    async def keep_alive(self, lease_id: int) -> bool:
        """Renew a lease; False if it is no more."""
        call = self._lease.LeaseKeepAlive(timeout=TIMEOUT_S)
        try:
            await call.write(rpc.LeaseKeepAliveRequest(ID=lease_id))
            reply = await call.read()
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"etcd at {self.endpoints}: {error.details()}") from error
        finally:
            call.cancel()
        return reply is not EOF and reply.TTL > 0

    async def follow(self, prefix: str) -> AsyncGenerator[Listing | Change, None]:
        """List, then watch from that revision, for ever: a broken watch is followed by a new listing.

        A Listing replaces all that was known. The stream also lists anew every 60 s, so that nothing a watch may have
        missed stays wrong for longer.
        """
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                listing = await self.list(prefix)
                yield listing
                async with contextlib.aclosing(self._changes(prefix, listing.revision + 1)) as changes:
                    async for change in changes:
                        backoff.reset()
                        yield change
                backoff.reset()
            except (UnavailableError, grpc.aio.AioRpcError) as error:
                log.warning("watch broke", extra={"prefix": prefix, "reason": _reason(error)})
                await asyncio.sleep(backoff.next())

    async def _changes(self, prefix: str, revision: int) -> AsyncGenerator[Change, None]:
        call = self._watch.Watch()
        try:
            create = rpc.WatchCreateRequest(key=prefix.encode(), range_end=prefix_end(prefix), start_revision=revision)
            await call.write(rpc.WatchRequest(create_request=create))
            ends = asyncio.get_running_loop().time() + RELIST_S
            while (left_s := ends - asyncio.get_running_loop().time()) > 0:
                try:
                    async with asyncio.timeout(left_s):
                        reply = await call.read()
                except TimeoutError:
                    return
                if reply is EOF or reply.canceled:
                    raise UnavailableError(f"etcd ended the watch of {prefix}")
                for event in reply.events:
                    deleted = event.type == event.DELETE
                    value = None if deleted else _key_value(event.kv)
                    yield Change(event.kv.key.decode(), value, event.kv.mod_revision)
        finally:
            call.cancel()


def _reason(error: Exception) -> str:
    return str(error.details()) if isinstance(error, grpc.aio.AioRpcError) else str(error)


class Mirror(Generic[T]):
    """The keys below a prefix, kept equal to etcd's; while etcd is away, the last known.

    `on_change` is called, without arguments, after every change: readers look at `items` again, so that a missed or a
    repeated event can do no harm.
    """

    def __init__(self, etcd: Etcd, prefix: str, decode: Callable[[bytes], T], on_change: Callable[[], None]) -> None:
        self.items: dict[str, T] = {}
        self.revisions: dict[str, int] = {}
        self.synced = asyncio.Event()
        self._etcd = etcd
        self._prefix = prefix
        self._decode = decode
        self._on_change = on_change

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        async with contextlib.aclosing(self._etcd.follow(self._prefix)) as stream:
            async for event in stream:
                if isinstance(event, Listing):
                    self._replace(event)
                    self.synced.set()
                else:
                    self._apply(event)
                self._on_change()

    def _replace(self, listing: Listing) -> None:
        self.items.clear()
        self.revisions.clear()
        for kv in listing.items.values():
            self._apply(Change(kv.key, kv, kv.mod_revision))

    def _apply(self, change: Change) -> None:
        name = change.key.removeprefix(self._prefix)
        self.items.pop(name, None)
        self.revisions.pop(name, None)
        if change.value is None:
            return
        try:
            self.items[name] = self._decode(change.value.value)
            self.revisions[name] = change.value.mod_revision
        except (
            codec.MalformedError
        ) as error:  # of a later release, perhaps: it must not take those down that can be read
            log.error("record not understood", extra={"key": change.key, "reason": str(error)})
