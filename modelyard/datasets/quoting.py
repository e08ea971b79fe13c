"""Where rows of CSV end: at a line feed that no quotes enclose (RFC 4180)."""

from __future__ import annotations

import numpy as np

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError

_QUOTE, _LINE_FEED = ord('"'), ord("\n")
_BEFORE_QUOTES = np.frombuffer(b',\n"', np.uint8)


def last_row_end(text: bytes, offset: int, name: str) -> int:
    """Where the last whole row of some text ends, which begins with a row; 0: nowhere.

    Raises:
        InvalidInputError: a quote stands within a value that is not quoted; it is named by its byte in the file.
    """
    if b'"' not in text:
        return text.rfind(b"\n") + 1
    ends = _row_ends(text, offset, name)
    return int(ends[-1]) if len(ends) else 0


def first_row_end(text: bytes, offset: int, name: str) -> int:
    """Where the first row of some text ends; 0: it does not."""
    ends = _row_ends(text, offset, name)
    return int(ends[0]) if len(ends) else 0


def is_open(text: bytes) -> bool:
    """Whether a quote of the text is not closed."""
    return bool(text.count(b'"') % 2)


def _row_ends(text: bytes, offset: int, name: str) -> Array:
    octets = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(octets == _QUOTE)
    line_feeds = np.flatnonzero(octets == _LINE_FEED)
    opening = quotes[::2][quotes[::2] > 0]
    stray = opening[~np.isin(octets[opening - 1], _BEFORE_QUOTES)]
    if len(stray):
        at = offset + int(stray[0])
        raise InvalidInputError(
            f"{name}: byte {at}: a quote within a value; expected the value in quotes, and its own quotes doubled"
        )
    outside = np.searchsorted(quotes, line_feeds) % 2 == 0
    return np.asarray(line_feeds[outside] + 1)
