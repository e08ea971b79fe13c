"""A dataset of samples (inputs, target), made of the columns of a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError
from modelyard.train.data.rows import Columns, Rows
from modelyard.train.data.splitting import split
from modelyard.train.data.tensors import Value, to_matrix, to_target, to_value
from modelyard.train.order import Indices

_ROWS = 1 << 16
NUMBERS = "x"
"""How scalar columns that are side by side are called where there are other features."""


class Samples(ABC):
    """Samples that are read as batches."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Sequence[int] | Indices) -> tuple[Any, Any]:
        """Return (inputs, targets) of some samples, each [n, ...]; without a target there is None.

        Raises:
            InvalidInputError: a row cannot be read, or its label is out of range: the row is named.
        """

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected a sample within {len(self)}, got {index}")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int] | Indices) -> list[Any]:
        inputs, targets = self.batch(indices)
        columns = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
        rows: Any = zip(*columns, strict=True)
        samples = [dict(zip(inputs, row, strict=True)) if isinstance(inputs, dict) else row[0] for row in rows]
        return samples if targets is None else list(zip(samples, targets, strict=True))


@dataclass(frozen=True)
class View:
    """What a table's columns are for.

    Attributes:
        features: the columns of the inputs.
        target: the column of the target; empty: there is none.
        classes: how many labels the target has, 0 ... classes - 1; 0: it is not looked at.
    """

    features: tuple[str, ...]
    target: str = ""
    classes: int = 0


class Table(Samples):
    """Rows of a file, or some of them.

    Inputs: scalar columns of numbers are side by side, FP32 [k], in the order of the features; every other column is by
    itself: arrays [...] as `to_value` says, text as str. If there are several of these, a sample has them by name, the
    scalars as "x". The target: INT64 [] if it is of whole numbers, else FP32 or str.

    Attributes:
        view: what the columns are for.
        numbers: the rows of the samples, INT64 [samples].
        reads: how often rows were asked for.
    """

    def __init__(self, rows: Rows, view: View, numbers: Indices | None = None) -> None:
        self.rows = rows
        self.view = view
        self.reads = 0
        self.numbers = np.arange(len(rows), dtype=np.int64) if numbers is None else numbers
        known = {column.name: column for column in rows.columns}
        self._columns = [known[name] for name in view.features]
        self._scalars = [c.name for c in self._columns if not c.shape and c.datatype != "BYTES"]
        if self._scalars and any(c.name == NUMBERS and c.name not in self._scalars for c in self._columns):
            raise InvalidInputError(f"{rows.name}: expected no array {NUMBERS!r} beside single numbers; rename it")

    def __len__(self) -> int:
        return len(self.numbers)

    def columns(self, indices: Sequence[int] | Indices | None = None) -> Columns:
        """Features and target of some samples, or of all, as they are in the file: each [n, ...]."""
        self.reads += 1
        numbers = self.numbers if indices is None else self.numbers[np.asarray(indices, np.int64)]
        return self.rows.take(numbers)

    def batch(self, indices: Sequence[int] | Indices) -> tuple[Any, Any]:
        """As Samples says."""
        columns = self.columns(indices)
        inputs: dict[str, Value] = {}
        if self._scalars:
            inputs[NUMBERS] = to_matrix([columns[name] for name in self._scalars])
        for column in self._columns:
            if column.name not in self._scalars:
                inputs[column.name] = to_value(columns[column.name], column)
        target = self._target(columns, indices)
        return next(iter(inputs.values())) if len(inputs) == 1 else inputs, target

    def _target(self, columns: Columns, indices: Sequence[int] | Indices) -> Value | None:
        if not self.view.target:
            return None
        values = columns[self.view.target]
        self._check_labels(values, indices)
        return to_target(values)

    def _check_labels(self, values: Array, indices: Sequence[int] | Indices) -> None:
        if not self.view.classes:
            return
        name, most = self.view.target, self.view.classes - 1
        if values.dtype.kind not in "biu":
            raise InvalidInputError(f"column {name!r}: expected whole numbers as labels, got {values.dtype}")
        wrong = np.flatnonzero((values < 0) | (values > most))
        if len(wrong):
            row = self.numbers[np.asarray(indices, np.int64)[wrong[0]]]
            raise InvalidInputError(
                f"row {row}: column {name!r}: expected a label of 0 ... {most}, got {values[wrong[0]]}"
            )

    def labels(self) -> Array:
        """The targets of all samples, [samples], as they are in the file; no more rows are held at a time than _ROWS.

        Raises:
            InvalidInputError: there is no target, or a label is out of range.
        """
        if not self.view.target:
            raise InvalidInputError(f"{self.rows.name}: expected a target, there is none")
        parts = [np.arange(begin, min(begin + _ROWS, len(self))) for begin in range(0, len(self), _ROWS)]
        values = np.concatenate([self.columns(part)[self.view.target] for part in parts or [np.arange(0)]])
        self._check_labels(values, np.arange(len(self)))
        return values

    def subset(self, indices: Sequence[int] | Indices) -> Table:
        """Some of the samples, which share the rows' memory."""
        return Table(self.rows, self.view, self.numbers[np.asarray(indices, np.int64)])

    def split(self, fractions: Sequence[float], seed: int, *, stratified: bool = False) -> tuple[Table, ...]:
        """Parts of these fractions, see `splitting.split`; stratified: each label has its share in each."""
        parts = split(len(self), seed, fractions, self.labels() if stratified else None)
        return tuple(self.subset(part) for part in parts)
