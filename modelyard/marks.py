"""Chunks as holds name them (catalogue.Hold): by the first digits of their sha256, some thousands in one record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MARK_DIGITS = 16
"""So much of a sha256 tells chunks apart; of two that share it collection spares both."""
PART_CHUNKS = 2_000


def mark(digest: str) -> str:
    """As much of a digest as holds and collection use."""
    return digest[:MARK_DIGITS]


def parts(digests: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The marks of chunks, each once and in order, as many at a time as one hold has."""
    marks = sorted(set(map(mark, digests)))
    for start in range(0, len(marks), PART_CHUNKS):
        yield tuple(marks[start : start + PART_CHUNKS])
