"""The sizes of pages."""

from __future__ import annotations

from modelyard.errors import InvalidInputError

MAX_PAGE = 1000
DEFAULT_PAGE = 100


def page_size(asked: int) -> int:
    """Return how many a page holds at most; raise InvalidInputError if that is less than nothing."""
    if asked < 0:
        raise InvalidInputError(f"page_size: expected 0 to {MAX_PAGE}, got {asked}")
    return min(asked or DEFAULT_PAGE, MAX_PAGE)
