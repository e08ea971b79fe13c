"""Rows on their way to the model: mapped to its inputs, and cut into calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from modelyard.datasets.columns import Array


@dataclass(frozen=True)
class Portion:
    """Rows that follow each other in a task.

    Attributes:
        positions: of each row as the task counts them, ascending, INT64 [n].
        rows: the number of each in the dataset, INT64 [n].
        inputs: of the model, by name, each [n, ...].
        key: the values of the column that is written beside the outputs, [n]; None: there is none.
    """

    positions: Array
    rows: Array
    inputs: dict[str, Array]
    key: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, begin: int, end: int) -> Portion:
        """Some of the rows, by their places; nothing is copied."""
        inputs = {name: values[begin:end] for name, values in self.inputs.items()}
        key = None if self.key is None else self.key[begin:end]
        return Portion(self.positions[begin:end], self.rows[begin:end], inputs, key)

    def halves(self) -> tuple[Portion, Portion]:
        """Two parts of a portion of two rows or more."""
        middle = len(self) // 2
        return self.between(0, middle), self.between(middle, len(self))


def joined(portions: list[Portion]) -> Portion:
    """At least one portion, in order, as one."""
    if len(portions) == 1:
        return portions[0]
    first = portions[0]
    inputs = {name: np.concatenate([portion.inputs[name] for portion in portions]) for name in first.inputs}
    keys = [portion.key for portion in portions if portion.key is not None]
    return Portion(
        np.concatenate([portion.positions for portion in portions]),
        np.concatenate([portion.rows for portion in portions]),
        inputs,
        np.concatenate(keys) if keys else None,
    )


def cut(portions: Iterable[Portion], rows: Callable[[], int]) -> Iterator[Portion]:
    """Yield the same rows in portions of as many as `rows` says each time; the last one may have fewer."""
    waiting: list[Portion] = []
    count = 0
    for portion in portions:
        waiting.append(portion)
        count += len(portion)
        while count and count >= (size := rows()):
            whole = joined(waiting)
            yield whole if count == size else whole.between(0, size)
            count -= size
            waiting = [whole.between(size, len(whole))] if count else []
    if count:
        yield joined(waiting)
