"""Domain values as JSON, for etcd."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Return the JSON of a domain value."""
    return msgspec.json.encode(value)


def decode(kind: type[T], data: bytes) -> T:
    """Read the JSON of a domain value; fields that this release does not know are passed over."""
    return msgspec.json.decode(data, type=kind)
