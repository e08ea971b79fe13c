"""Domain values as JSON, for etcd."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

log = logging.getLogger(__name__)
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
    try:
        return msgspec.json.decode(data, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(str(error)) from error


def to_json(value: Any) -> Any:
    """The JSON of a domain value as what json.dumps takes."""
    return msgspec.to_builtins(value)


def of_json(kind: type[T], value: Any) -> T:
    """As `decode`, of JSON that was parsed already."""
    return msgspec.convert(value, type=kind)


def understood(read: Callable[[bytes], T], key: str, data: bytes) -> T | None:
    """Return what `read` makes of a record; None, with a line in the log, if that is a MalformedError.

    It is of a later release, perhaps: it must not take those down that can be read.
    """
    try:
        return read(data)
    except MalformedError as error:
        log.error("record not understood", extra={"key": key, "reason": str(error)})
        return None
