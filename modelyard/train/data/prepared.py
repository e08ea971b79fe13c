"""Samples as a served model will get them: encoded by its preprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError
from modelyard.preprocessing.decoding import Rescaling
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train.data.rows import MEMORY_BYTES, Columns, size_bytes
from modelyard.train.data.table import Samples, Table
from modelyard.train.data.tensors import Value, to_target, to_value
from modelyard.train.order import Indices

_ROWS = 1024
"""So many are encoded at a time."""


class Prepared(Samples):
    """A table, encoded. Inputs are the model's: one by itself, several by name.

    The target becomes the class's index where the preprocessing has labels, and is scaled where it has a rescaling.
    What is encoded is kept if the table is in memory and it fits into `memory_bytes`; else it is encoded at each read.
    """

    def __init__(self, table: Table, preprocessing: Preprocessing, memory_bytes: int = MEMORY_BYTES) -> None:
        """Encode a table.

        Raises:
            InvalidInputError: a row cannot be encoded, or its label is unknown: the row is named.
        """
        self._table = table
        self._preprocessing = preprocessing
        self._kept: tuple[dict[str, Array], Array | None] | None = None
        if table.rows.whole is not None:
            self._kept = self._all(memory_bytes)

    def __len__(self) -> int:
        return len(self._table)

    def batch(self, indices: Sequence[int] | Indices) -> tuple[Any, Any]:
        """As Samples says."""
        places = np.asarray(indices, np.int64)
        if self._kept:
            inputs, targets = self._kept
            return _tensors(
                {name: values[places] for name, values in inputs.items()}, None if targets is None else targets[places]
            )
        return _tensors(*self._encoded(places))

    def _all(self, memory_bytes: int) -> tuple[dict[str, Array], Array | None] | None:
        """All samples, encoded; None: they take more than `memory_bytes`."""
        parts: list[tuple[dict[str, Array], Array | None]] = []
        held = 0
        for places in self._portions():
            parts.append(self._encoded(places))
            held += size_bytes(parts[-1][0])
            if held > memory_bytes:
                return None
        if not parts:
            return None
        inputs = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
        targets = [part[1] for part in parts if part[1] is not None]
        return inputs, np.concatenate(targets) if targets else None

    def _portions(self) -> Iterator[Indices]:
        for begin in range(0, len(self), _ROWS):
            yield np.arange(begin, min(begin + _ROWS, len(self)), dtype=np.int64)

    def _encoded(self, places: Indices) -> tuple[dict[str, Array], Array | None]:
        columns = self._table.columns(places)
        features = {name: columns[name] for name in self._table.view.features}
        try:
            inputs = self._preprocessing.encode(features)
        except InvalidInputError:
            self._name_row(features, places)
            raise
        return inputs, self._target(columns, places)

    def _name_row(self, features: Columns, places: Indices) -> None:
        """Raise what the first row raises that cannot be encoded by itself."""
        for place, row in enumerate(self._table.numbers[places].tolist()):
            try:
                self._preprocessing.encode({name: values[place : place + 1] for name, values in features.items()})
            except InvalidInputError as error:
                raise InvalidInputError(f"{self._table.rows.name}: row {row}: {error.message}") from error

    def _target(self, columns: Columns, places: Indices) -> Array | None:
        name = self._table.view.target
        if not name:
            return None
        labels = self._preprocessing.labels
        if labels:
            return labels.indices(columns[name], name, self._table.numbers[places].tolist())
        scaling = next((d for d in self._preprocessing.decodings if isinstance(d, Rescaling)), None)
        return scaling.scaled(columns[name]) if scaling else columns[name]


def _tensors(inputs: dict[str, Array], targets: Array | None) -> tuple[Any, Any]:
    found: dict[str, Value] = {name: to_value(values) for name, values in inputs.items()}
    target = None if targets is None else to_target(targets)
    return next(iter(found.values())) if len(found) == 1 else found, target
