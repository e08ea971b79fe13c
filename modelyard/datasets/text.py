"""Datasets of text: one pass finds blocks and columns, then blocks are parsed as rows are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import pyarrow as pa

from modelyard.datasets.arrays import batch_of
from modelyard.datasets.blocks import TextIndex
from modelyard.datasets.columns import Batch, Column, joined, no_rows
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.source import Source
from modelyard.errors import InvalidInputError


class TextDataset(Dataset):
    """Rows of text, by an index. The block that was parsed last is kept.

    Attributes:
        index: what opening it again takes, so that the pass need not be repeated.
    """

    def __init__(self, source: Source, index: TextIndex) -> None:
        super().__init__(source.name, index.begins[-1], index.columns, index.unusable)
        self.index = index
        self._source = source
        self._parsed: tuple[int, tuple[Column, ...], Sequence[pa.Array]] | None = None

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        if begin == end or not columns:
            return no_rows(begin, columns)
        return joined(self._part(block, begin, end, tuple(columns)) for block in self.index.blocks(begin, end))

    def _part(self, block: int, begin: int, end: int, columns: tuple[Column, ...]) -> Batch:
        """What a block has of the rows [begin, end)."""
        first = self.index.begins[block]
        last = self.index.begins[block + 1]
        start, stop = max(begin, first), min(end, last)
        arrays = (array.slice(start - first, stop - start) for array in self._arrays(block, columns))
        return batch_of(start, dict(zip(columns, arrays, strict=True)), stop - start)

    def _arrays(self, block: int, columns: tuple[Column, ...]) -> Sequence[pa.Array]:
        if self._parsed is None or self._parsed[:2] != (block, columns):
            self._parsed = None
            self._parsed = block, columns, self._parse_block(block, columns)
        return self._parsed[2]

    def _parse_block(self, block: int, columns: tuple[Column, ...]) -> Sequence[pa.Array]:
        begin, end = self.index.offsets[block : block + 2]
        try:
            arrays = self._parse(self._source.read(begin, end - begin), columns)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise self._changed(block, str(error)) from error
        expected = self.index.begins[block + 1] - self.index.begins[block]
        if any(len(array) != expected for array in arrays):
            raise self._changed(block, f"expected {expected} rows")
        return arrays

    def _changed(self, block: int, reason: str) -> InvalidInputError:
        first = self.index.begins[block]
        return InvalidInputError(f"{self.name}: rows from {first} on are not what was indexed: {reason:.300}")

    @abstractmethod
    def _parse(self, text: bytes, columns: Sequence[Column]) -> Sequence[pa.Array]:
        """Parse a block: an array for each column, its type that of the column."""
