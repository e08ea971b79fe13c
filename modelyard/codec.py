"""Domain values as JSON, for etcd."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MalformedError = msgspec.DecodeError
"""A record is not JSON, or not of its kind."""


def encode(value: Any) -> bytes:
    """Return the JSON of a domain value."""
    return msgspec.json.encode(value)


def decode(kind: type[T], data: bytes) -> T:
    """Read the JSON of a domain value; fields that this release does not know are passed over.

    Raises:
        MalformedError: it is not JSON, or a field is missing or of another type.
    """
    return msgspec.json.decode(data, type=kind)
