"""Keys, conditions, operations and changes, and the messages they are sent as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aetcd import rpc


def encoded(key: str) -> bytes:
    """A key as etcd has it."""
    return key.encode(errors="surrogateescape")


def decoded(key: bytes) -> str:
    """A key as text. Bytes that are not UTF-8, which no key of ours has, are escaped: `encoded` gives them back."""
    return key.decode(errors="surrogateescape")


@dataclass(frozen=True)
class KeyValue:
    """A key's value and when it was created and last changed."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease_id: int

    @classmethod
    def read(cls, kv: Any) -> KeyValue:
        """From etcd's message."""
        return cls(decoded(kv.key), kv.value, kv.create_revision, kv.mod_revision, kv.lease)


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

    @classmethod
    def unchanged_below(cls, prefix: str, revision: int) -> Compare:
        """The condition that no key below a prefix was set after a revision; it does not see what was deleted."""
        return cls(prefix, revision + 1, "mod", prefix=True, less=True)

    def message(self) -> Any:
        """As etcd's message."""
        target = rpc.Compare.CREATE if self.target == "create" else rpc.Compare.MOD
        fields = {f"{self.target}_revision": self.revision}
        end = prefix_end(self.key) if self.prefix else b""
        result = rpc.Compare.LESS if self.less else rpc.Compare.EQUAL
        return rpc.Compare(key=encoded(self.key), range_end=end, result=result, target=target, **fields)


@dataclass(frozen=True)
class Put:
    """An operation of a transaction."""

    key: str
    value: bytes
    lease_id: int = 0

    def message(self) -> Any:
        """As etcd's message."""
        put = rpc.PutRequest(key=encoded(self.key), value=self.value, lease=self.lease_id)
        return rpc.RequestOp(request_put=put)


@dataclass(frozen=True)
class Delete:
    """An operation of a transaction; with `prefix`, of every key that begins with it."""

    key: str
    prefix: bool = False

    def message(self) -> Any:
        """As etcd's message."""
        end = prefix_end(self.key) if self.prefix else b""
        return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=encoded(self.key), range_end=end))


@dataclass(frozen=True)
class Change:
    """What a watch saw: a new value, or with None the end of a key; and the revision of that."""

    key: str
    value: KeyValue | None
    revision: int

    @classmethod
    def read(cls, event: Any) -> Change:
        """From etcd's message."""
        value = None if event.type == event.DELETE else KeyValue.read(event.kv)
        return cls(decoded(event.kv.key), value, event.kv.mod_revision)


@dataclass(frozen=True)
class Batch:
    """All that one transaction changed below a prefix, in its order.

    Without a change it says only that nothing else has changed up to its revision.
    """

    revision: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Listing:
    """Every key below a prefix at one revision, or a page of them."""

    revision: int
    items: dict[str, KeyValue]

    @classmethod
    def read(cls, reply: Any) -> Listing:
        """From etcd's answer to a range request."""
        return cls(reply.header.revision, {decoded(kv.key): KeyValue.read(kv) for kv in reply.kvs})


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with the prefix (our prefixes end in ASCII)."""
    raw = encoded(prefix)
    return raw[:-1] + bytes([raw[-1] + 1])
