"""A table in whose epochs each label comes as often as any other."""

from __future__ import annotations

import numpy as np

from modelyard.errors import InvalidInputError
from modelyard.train.data.sampling import balanced
from modelyard.train.data.table import Table
from modelyard.train.order import Indices


class BalancedTable(Table):
    """A table with an order of its own: see `sampling.balanced`. What a recipe makes of it comes in that order too."""

    def __init__(self, table: Table) -> None:
        """Read the labels.

        Raises:
            InvalidInputError: there is no target, or it is none of text or whole numbers.
        """
        super().__init__(table.rows, table.view, table.numbers)
        labels = table.labels()
        if labels.dtype.kind not in "biuSUO" or labels.ndim > 1:
            got = f"{labels.dtype} {list(labels.shape[1:])}" if labels.ndim > 1 else labels.dtype
            name = table.view.target
            raise InvalidInputError(f"column {name!r}: expected labels to balance by, text or whole numbers; got {got}")
        self._classes = np.unique(labels, return_inverse=True)[1]

    def order(self, seed: int, epoch: int) -> Indices:
        """The numbers of the samples in the order of an epoch, INT64 [samples]."""
        return balanced(self._classes, seed, epoch)
