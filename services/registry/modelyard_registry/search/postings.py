"""Which entries have a label, a format or a model name: where a search can begin."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modelyard_registry.search.entry import Entry
from modelyard_registry.search.filters import Narrowing

Posting = tuple[str, ...]


class Postings:
    """Sets of entries by what they have in common."""

    def __init__(self) -> None:
        self._sets: dict[Posting, set[Entry]] = {}

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        for posting in _of_entry(entry):
            self._sets.setdefault(posting, set()).add(entry)

    def remove(self, entry: Entry) -> None:
        """Forget an entry."""
        for posting in _of_entry(entry):
            entries = self._sets[posting]
            entries.discard(entry)
            if not entries:
                del self._sets[posting]

    def candidates(self, narrowing: Narrowing) -> Collection[Entry] | None:
        """Return the smallest set that every match is in; None if there is none."""
        return min((self._sets.get(posting, ()) for posting in _of_narrowing(narrowing)), key=len, default=None)


def _of_entry(entry: Entry) -> Iterator[Posting]:
    yield "name", entry.version.model
    yield "format", entry.version.format
    for key, value in entry.labels.items():
        yield "label", key, value


def _of_narrowing(narrowing: Narrowing) -> Iterator[Posting]:
    if narrowing.name is not None:
        yield "name", narrowing.name
    if narrowing.format is not None:
        yield "format", narrowing.format
    for key, value in narrowing.labels:
        yield "label", key, value
