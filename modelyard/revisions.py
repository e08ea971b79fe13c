"""Which etcd revisions a piece of work has seen.

What reads and writes etcd notes them; who wants to know of all that is done from here on, in this task and in those
that it starts, begins a note.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar


class Seen:
    """The newest revision that has been seen; 0: none yet."""

    def __init__(self) -> None:
        self.newest = 0


_SEEN: ContextVar[Seen | None] = ContextVar("modelyard_revisions_seen", default=None)


def begin() -> Seen:
    """Return what is kept up to date from here on, until this task ends or begins another."""
    seen = Seen()
    _SEEN.set(seen)
    return seen


@contextlib.contextmanager
def apart() -> Iterator[Seen]:
    """Keep what is seen within the scope to itself: whoever asked for a note outside is told nothing of it."""
    token = _SEEN.set(seen := Seen())
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def note(revision: int) -> None:
    """Say that the work at hand has seen etcd at a revision."""
    seen = _SEEN.get()
    if seen is not None:
        seen.newest = max(seen.newest, revision)
