"""What a dataset has: columns with datatypes and shapes, and rows of which some may not be readable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        datatype: as the Open Inference Protocol names it.
        shape: of one row; () is a scalar, -1 a dimension that no row has told yet.
        inferred: the file does not declare it, its text looks like it.
        note: why a column of text is none of numbers; empty: not known.
        text: its BYTES are UTF-8, each of them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    inferred: bool = False
    note: str = ""
    text: bool = False

    def __str__(self) -> str:
        return f"{self.name!r}: {self.datatype} {list(self.shape)}"


@dataclass(frozen=True)
class Batch:
    """Rows that were read, and those that could not be.

    Attributes:
        rows: the number of each row that is given, ascending, INT64 [n].
        columns: by name, each [n, *shape]; BYTES are objects that are bytes.
        failed: for each row that is not given, why.
    """

    rows: Array
    columns: dict[str, Array]
    failed: Mapping[int, str] = field(default_factory=dict)

    def whole(self) -> dict[str, Array]:
        """The columns, if every row could be read.

        Raises:
            InvalidInputError: naming the first row that could not, and why.
        """
        if self.failed:
            row = min(self.failed)
            more = f" (and {len(self.failed) - 1} more rows)" if len(self.failed) > 1 else ""
            raise InvalidInputError(f"row {row}: {self.failed[row]}{more}")
        return self.columns

    def without(self, failed: Mapping[int, str]) -> Batch:
        """The same less some rows, of which it is told why."""
        if not failed:
            return self
        keep = ~np.isin(self.rows, np.fromiter(failed, dtype=np.int64))
        kept = {name: values[keep] for name, values in self.columns.items()}
        return Batch(self.rows[keep], kept, {**failed, **self.failed})

    def at(self, places: Array) -> Batch:
        """Some of the rows that are given, by a mask or by their places; failures stay."""
        return Batch(self.rows[places], {name: values[places] for name, values in self.columns.items()}, self.failed)


def joined(batches: Iterable[Batch]) -> Batch:
    """Batches of the same columns, at least one, in the order of their rows, as one."""
    parts = list(batches)
    if len(parts) == 1:
        return parts[0]
    failed: dict[int, str] = {}
    for part in parts:
        failed.update(part.failed)
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return Batch(np.concatenate([part.rows for part in parts]), columns, failed)


def no_rows(begin: int, columns: Iterable[Column]) -> Batch:
    """None of the rows."""
    shapes = ((c, tuple(max(size, 0) for size in c.shape)) for c in columns)
    return whole_batch(
        begin, begin, {c.name: np.empty((0, *shape), DATATYPES[c.datatype].dtype) for c, shape in shapes}
    )


def whole_batch(begin: int, end: int, columns: dict[str, Array]) -> Batch:
    """All rows of a range."""
    return Batch(np.arange(begin, end, dtype=np.int64), columns)
