"""Parquet: row groups, of which one at a time is decoded, a batch of rows after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.datasets.arrays import batch_of, column_of, row_shape
from modelyard.datasets.columns import Batch, Column, joined, no_rows
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.source import Source, SourceFile
from modelyard.errors import InvalidInputError

BATCH_BYTES = 2 << 20
"""About so many bytes are decoded at a time."""
BUFFER_BYTES = 256 << 10
MOST_BATCH_ROWS = 1 << 16
T = TypeVar("T")


class ParquetDataset(Dataset):
    """A Parquet file. Lists are dimensions, sized as the file says, else as those of the first row are.

    Attributes:
        begins: the first row of each row group; after the last the number of all rows.
    """

    def __init__(self, source: Source) -> None:
        """Read the footer.

        Raises:
            InvalidInputError: it is no Parquet file, or corrupt.
        """
        super().__init__(source.name, 0, (), {})
        self._file = self._checked(lambda: _opened(source))
        footer = self._file.metadata
        self._groups = [footer.row_group(n).num_rows for n in range(footer.num_row_groups)]
        self.begins = [0, *accumulate(self._groups)]
        self.rows = self.begins[-1]
        group_bytes = sum(footer.row_group(n).total_byte_size for n in range(footer.num_row_groups))
        self._batch_rows = min(max(BATCH_BYTES * self.rows // max(group_bytes, 1), 1), MOST_BATCH_ROWS)
        self._cursor: _Cursor | None = None
        self._find_columns()

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except MemoryError as error:  # Arrow's own is one of its exceptions, too
            raise InvalidInputError(
                f"{self.name}: takes more memory to be read than there is: {error!s:.300}"
            ) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InvalidInputError(f"{self.name}: expected a Parquet file: {error!s:.300}") from error

    def _find_columns(self) -> None:
        schema = self._checked(lambda: self._file.schema_arrow)
        duplicate = {name for name in schema.names if schema.names.count(name) > 1}
        if duplicate:
            raise InvalidInputError(f"{self.name}: expected columns of different names; got {sorted(duplicate)} twice")
        found: list[Column] = []
        for field in schema:
            column = column_of(field.name, field.type)
            if column is None:
                self.unusable[field.name] = f"{field.type} has no datatype in the Open Inference Protocol"
            else:
                found.append(self._sized(column))
        self.columns = tuple(column for column in found if column.name not in self.unusable)

    def _sized(self, column: Column) -> Column:
        """The column with the sizes of the first row for those that the file does not fix."""
        if -1 not in column.shape or not self.rows:
            return column
        group = next(n for n, rows in enumerate(self._groups) if rows)
        first = self._checked(
            lambda: next(self._file.iter_batches(1, row_groups=[group], columns=[column.name], use_threads=False))
        )
        shape = row_shape(first.column(0), len(column.shape))
        if shape is None:
            self.unusable[column.name] = "row 0 has no value, or lists of different lengths"
        return replace(column, shape=shape or column.shape)

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        if begin == end or not columns:
            return no_rows(begin, columns)
        names = [column.name for column in columns]
        if self._cursor is None or not self._cursor.reaches(begin, names):
            self._cursor = _Cursor(self._pieces(begin, names), self.begins[self._group_of(begin)], names)
        cursor, self._cursor = self._cursor, None  # one that fails is not used again
        parts = self._checked(lambda: cursor.read(begin, end))
        self._cursor = cursor
        batches, at = [], begin
        for part in parts:
            batches.append(batch_of(at, dict(zip(columns, part.columns, strict=True)), part.num_rows))
            at += part.num_rows
        return joined(batches)

    def _group_of(self, row: int) -> int:
        return next((n for n, end in enumerate(self.begins[1:]) if row < end), len(self._groups))

    def _pieces(self, begin: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        """What the file has from the row group of a row on."""
        for group in range(self._group_of(begin), len(self._groups)):
            yield from self._file.iter_batches(self._batch_rows, row_groups=[group], columns=names, use_threads=False)


def _opened(source: Source) -> pq.ParquetFile:
    file = pa.PythonFile(SourceFile(source), mode="r")
    return pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)


class _Cursor:
    """Where reading has come to: what was decoded and not yet given, and what comes after it."""

    def __init__(self, pieces: Iterator[pa.RecordBatch], at: int, names: list[str]) -> None:
        self._pieces = pieces
        self._names = names
        self._at = at
        self._left: pa.RecordBatch | None = None

    def reaches(self, begin: int, names: list[str]) -> bool:
        """Whether rows can be had by reading on, without much that is passed over."""
        return names == self._names and 0 <= begin - self._at <= MOST_BATCH_ROWS

    def read(self, begin: int, end: int) -> list[pa.RecordBatch]:
        """The rows [begin, end), of which there is one."""
        self._skip(begin)
        parts = []
        while self._at < end:
            parts.append(self._take(end - self._at))
        return parts

    def _skip(self, begin: int) -> None:
        while self._at < begin:
            self._take(begin - self._at)

    def _take(self, most: int) -> pa.RecordBatch:
        if self._left is None or not self._left.num_rows:
            self._left = next(self._pieces, None)
        if self._left is None:
            raise ValueError("it has fewer rows than its footer says")
        part = self._left.slice(0, most)
        self._left = self._left.slice(part.num_rows)
        self._at += part.num_rows
        return part
