"""Text in blocks of whole rows, found in one pass, so that any of them can be read again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from modelyard.datasets.columns import Column
from modelyard.datasets.source import Source
from modelyard.errors import InvalidInputError

BLOCK_BYTES = 1 << 20
MOST_ROW_BYTES = 64 << 20
"""A row, and so a block, is no longer than this."""


@dataclass(frozen=True)
class TextIndex:
    """What one pass over a file of text has found; as JSON (modelyard.codec) it can be kept for the next to open it.

    Attributes:
        kind: of the dataset.
        size_bytes: of the file.
        columns: those that can be read.
        unusable: why the others cannot, by name.
        offsets: where each block begins, in bytes; after the last where it ends.
        begins: the first row of each block; after the last the number of all rows.
    """

    kind: str
    size_bytes: int
    columns: tuple[Column, ...]
    unusable: dict[str, str]
    offsets: tuple[int, ...]
    begins: tuple[int, ...]

    def check(self, source: Source, kind: str) -> None:
        """Raise InvalidInputError if it is not of this file."""
        if (self.kind, self.size_bytes) != (kind, source.size_bytes):
            raise InvalidInputError(
                f"{source.name}: expected {self.kind} of {self.size_bytes} bytes, as when it was indexed; "
                f"got {kind} of {source.size_bytes}"
            )

    def blocks(self, begin: int, end: int) -> range:
        """The blocks that hold rows [begin, end); at least one if there is any."""
        first = min(bisect_right(self.begins, begin), len(self.begins) - 1) - 1
        last = min(bisect_right(self.begins, max(end - 1, begin)), len(self.begins) - 1) - 1
        return range(max(first, 0), last + 1)


def whole_rows(source: Source, offset: int, boundary: Callable[[bytes, int], int]) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole rows from an offset on, each with its offset.

    Args:
        source: the file.
        offset: where a row begins.
        boundary: given some text and its offset, where its last whole row ends; 0: it has none.

    Raises:
        InvalidInputError: a row is too long.
    """
    rest = b""
    while offset + len(rest) < source.size_bytes:
        at = offset + len(rest)
        text = rest + source.read(at, min(BLOCK_BYTES, source.size_bytes - at))
        end = boundary(text, offset)
        if offset + len(text) == source.size_bytes:
            end = len(text)
        if not end and len(text) >= MOST_ROW_BYTES:
            raise InvalidInputError(f"{source.name}: the row at byte {offset} is longer than {MOST_ROW_BYTES} bytes")
        if end:
            yield offset, text[:end]
        offset, rest = offset + end, text[end:]
