"""Which chunks are referred to or held: eight bytes for each, however many they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from modelyard.marks import mark

_SETTLED_AT_ONCE = 1 << 16


class Marks:
    """A set of digests by their first 64 bits: it never says no of one that was added, and rarely yes of another."""

    def __init__(self) -> None:
        self._sorted: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._added: list[npt.NDArray[np.uint64]] = []
        self._added_count = 0

    def add(self, digests: Iterable[str]) -> None:
        """Add digests, or the first 16 hex digits of each."""
        fresh = _numbers(digests)
        self._added.append(fresh)
        self._added_count += len(fresh)
        if self._added_count > max(_SETTLED_AT_ONCE, len(self._sorted)):
            self._settle()

    def _settle(self) -> None:
        if self._added:
            self._sorted = np.unique(np.concatenate([self._sorted, *self._added]))
            self._added, self._added_count = [], 0

    def without(self, chunks: dict[str, int]) -> dict[str, int]:
        """Return those that were not added, of chunks and whatever belongs to each."""
        self._settle()
        asked = _numbers(chunks)
        if not len(self._sorted) or not len(asked):
            return chunks
        places = np.minimum(np.searchsorted(self._sorted, asked), len(self._sorted) - 1)
        marked = self._sorted[places] == asked
        return {digest: chunks[digest] for digest, found in zip(chunks, marked, strict=True) if not found}


def _numbers(digests: Iterable[str]) -> npt.NDArray[np.uint64]:
    return np.fromiter((int(mark(digest), 16) for digest in digests), np.uint64)
