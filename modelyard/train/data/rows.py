"""Rows of a dataset in any order: all of them in memory, or blocks of them, those used last, within a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from modelyard.datasets.columns import Array, Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.parquet import ParquetDataset
from modelyard.datasets.text import TextDataset
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES

MEMORY_BYTES = 1 << 30
"""How much is held by default."""
BLOCK_BYTES = 64 << 10
"""About so much is read at a time of files whose rows stand at known places."""
_TEXT_BYTES = 256
_OBJECT_BYTES = 41
"""What Python takes for bytes beyond their contents, with the reference to them."""

Columns = dict[str, Array]


class Rows(Protocol):
    """Rows under numbers from 0 on.

    Attributes:
        name: of the file, for messages.
        columns: what they have.
        whole: all columns, if they are in memory; else None.
    """

    name: str
    columns: tuple[Column, ...]
    whole: Columns | None

    def __len__(self) -> int:
        """How many there are."""
        ...

    def take(self, numbers: Array) -> Columns:
        """Return rows, in the order of their numbers INT64 [n]: each column [n, ...].

        Raises:
            InvalidInputError: a row cannot be read, it is named; or the file has changed.
        """
        ...


class MemoryRows:
    """All rows in memory."""

    def __init__(self, name: str, columns: Sequence[Column], whole: Columns, count: int) -> None:
        self.name, self.columns = name, tuple(columns)
        self.whole: Columns | None = whole
        self._values, self._count = whole, count

    def __len__(self) -> int:
        return self._count

    def take(self, numbers: Array) -> Columns:
        """As Rows says."""
        return {name: values[numbers] for name, values in self._values.items()}


class BlockRows:
    """Rows that are read in blocks: a row group of Parquet, 1 MiB of text, 64 KiB of arrays, an image each.

    At most `memory_bytes` of blocks are held, one at least: a row group that is larger is held alone, which is slow in
    any order but its own. Write small row groups, or npy files, of what does not fit into memory.
    """

    whole: Columns | None = None

    def __init__(self, dataset: Dataset, columns: Sequence[Column], memory_bytes: int) -> None:
        self.name, self.columns = dataset.name, tuple(columns)
        self._dataset = dataset
        self._names = [column.name for column in columns]
        self._begins = _begins(dataset, columns)
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[int, Columns] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return self._dataset.rows

    def take(self, numbers: Array) -> Columns:
        """As Rows says."""
        if not len(numbers):
            return self._dataset.read(0, 0, self._names)
        blocks = np.searchsorted(self._begins, numbers, side="right") - 1
        sorting = np.argsort(blocks, kind="stable")
        parts = [self._part(int(blocks[places[0]]), numbers[places]) for places in _runs(blocks, sorting)]
        found: Columns = {}
        for name in self._names:
            values = np.concatenate([part[name] for part in parts])
            found[name] = np.empty_like(values)
            found[name][sorting] = values
        return found

    def _part(self, block: int, numbers: Array) -> Columns:
        """Rows of one block."""
        columns = self._block(block)
        return {name: columns[name][numbers - self._begins[block]] for name in self._names}

    def _block(self, block: int) -> Columns:
        if block not in self._held:
            begin, end = int(self._begins[block]), int(self._begins[block + 1])
            read = self._dataset.read(begin, end, self._names)
            self._held_bytes += size_bytes(read)
            self._held[block] = read
            while self._held_bytes > self._memory_bytes and len(self._held) > 1:
                _, oldest = self._held.popitem(last=False)
                self._held_bytes -= size_bytes(oldest)
        self._held.move_to_end(block)
        return self._held[block]


def open_rows(dataset: Dataset, names: Sequence[str], memory_bytes: int = MEMORY_BYTES) -> Rows:
    """Return the rows of a dataset with some columns: in memory if they fit into `memory_bytes`, else by blocks.

    Raises:
        InvalidInputError: there is no such column, or a row cannot be read.
    """
    columns = [dataset.column(name) for name in dict.fromkeys(names)]
    begins = _begins(dataset, columns)
    rows_bytes = dataset.rows * sum(_row_bytes(column) for column in columns if column.datatype != "BYTES")
    held: list[Columns] = []
    for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        if rows_bytes > memory_bytes:
            return BlockRows(dataset, columns, memory_bytes)
        held.append(dataset.read(begin, end, [column.name for column in columns]))
        rows_bytes += sum(size_bytes({c.name: held[-1][c.name]}) for c in columns if c.datatype == "BYTES")
    if not held:
        raise InvalidInputError(f"{dataset.name}: expected at least one row")
    whole = {c.name: np.concatenate([part[c.name] for part in held]) for c in columns}
    return MemoryRows(dataset.name, columns, whole, dataset.rows)


def size_bytes(columns: Columns) -> int:
    """What columns take in memory, about."""
    return sum(
        sum(map(len, values.reshape(-1).tolist())) + values.size * _OBJECT_BYTES
        if values.dtype == object
        else values.nbytes
        for values in columns.values()
    )


def _begins(dataset: Dataset, columns: Sequence[Column]) -> Array:
    """The first row of each block that is not empty, and the number of all rows."""
    if isinstance(dataset, ParquetDataset):
        return np.unique(np.asarray([*dataset.begins], np.int64))
    if isinstance(dataset, TextDataset):
        return np.unique(np.asarray([*dataset.index.begins], np.int64))
    rows = max(BLOCK_BYTES // max(sum(map(_row_bytes, columns)), 1), 1)
    return np.unique(np.asarray([*range(0, dataset.rows, rows), dataset.rows], np.int64))


def _row_bytes(column: Column) -> int:
    item = _TEXT_BYTES if column.datatype == "BYTES" else DATATYPES[column.datatype].item_bytes
    return item * int(np.prod([max(size, 1) for size in column.shape]))


def _runs(blocks: Array, sorting: Array) -> list[Array]:
    """The places of `sorting`, cut where another block begins."""
    return np.split(sorting, np.flatnonzero(np.diff(blocks[sorting])) + 1)
