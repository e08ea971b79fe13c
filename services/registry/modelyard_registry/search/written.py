"""Values as they are written in a filter: numbers, sizes, timestamps, texts with wildcards."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from modelyard.config import parse_bytes
from modelyard_registry.search.conditions import Text, refusal
from modelyard_registry.search.predicates import Test

_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", re.ASCII)


def number(value: Text) -> float:
    """Read a number; raise InvalidInputError."""
    if not _NUMBER.fullmatch(value.text):
        raise refusal(value.column, "a number", value.text)
    return float(value.text)


def size(value: Text) -> float:
    """Read a number of bytes, or a size such as 16GiB; raise InvalidInputError."""
    if _NUMBER.fullmatch(value.text):
        return float(value.text)
    try:
        return float(parse_bytes(value.text))
    except (ValueError, OverflowError):
        raise refusal(value.column, "a size such as 512MiB or 16GiB", value.text) from None


def moment(value: Text) -> float:
    """Read an RFC-3339 timestamp, or a date for its midnight in UTC, as seconds since the epoch.

    Raises:
        InvalidInputError: it is neither.
    """
    try:
        if not _TIME.fullmatch(value.text.upper()):
            raise ValueError(value.text)
        found = datetime.fromisoformat(value.text.upper())
    except ValueError:
        raise refusal(value.column, "a timestamp such as 2026-01-31T08:00:00Z", value.text) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def plain(value: Text) -> str:
    """Return a text in which no star stands for anything; raise InvalidInputError otherwise."""
    if value.wild:
        raise refusal(value.column + value.wild[0], r"no * here: wildcards go with = (a star itself: \*)", value.text)
    return value.text


def equal_to(value: Text) -> Test:
    """The test for a text, with a star at either end or without; raise InvalidInputError for a star between."""
    end = len(value.text) - 1
    if between := set(value.wild) - {0, end}:
        raise refusal(value.column + min(between), r"* only at the ends (a star itself: \*)", value.text)
    first, last = 0 in value.wild, end in value.wild
    core = value.text[first : len(value.text) - last]
    if first and last:
        return lambda text: core in text
    if first:
        return lambda text: text.endswith(core)
    if last:
        return lambda text: text.startswith(core)
    return lambda text: text == core
