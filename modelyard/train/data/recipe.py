"""Recipes that look at a table before they train: what they find travels with the model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.options import Options
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train.data.prepared import Prepared
from modelyard.train.data.sampling import class_counts, class_weights
from modelyard.train.data.served import check_served
from modelyard.train.data.table import Table
from modelyard.train.dataset import Dataset
from modelyard.train.recipe import Recipe


class TableRecipe(Recipe):
    """A recipe for tables: `options` says what is fitted to the training data, before `model` is asked.

    It is trained on what that makes of the table's columns, and served with it: callers send what the columns have.
    """

    _fitted: Preprocessing | None = None
    _class_weights: torch.Tensor | None = None

    @abstractmethod
    def options(self, train: Table) -> Sequence[Options]:
        """Return what is to be fitted to the columns: see `modelyard.preprocessing.options`."""

    @property
    def fitted(self) -> Preprocessing:
        """What was fitted.

        Raises:
            InvalidInputError: nothing was, yet.
        """
        if self._fitted is None:
            raise InvalidInputError(f"{type(self).__name__}: expected `prepare` to have been called")
        return self._fitted

    def prepare(self, train: Dataset) -> None:
        """Fit; raise InvalidInputError if that is no table, or cannot be fitted to."""
        table = _table(train)
        self._fitted = Preprocessing.fit(table.columns(), self.options(table))
        if self._fitted.labels and table.view.target:
            classes = self._fitted.labels.indices(table.labels(), table.view.target)
            weights = class_weights(class_counts(classes, len(self._fitted.labels.names)))
            self._class_weights = torch.from_numpy(weights).float()

    def class_weights(self, targets: torch.Tensor) -> torch.Tensor:
        """Return what each sample counts, FP32 [batch], if every class is to count the same: for `weights`.

        Raises:
            InvalidInputError: no labels were fitted.
        """
        if self._class_weights is None:
            raise InvalidInputError(f"{type(self).__name__}: expected LabelOptions and a target to have been fitted to")
        return self._class_weights.to(targets.device)[targets]

    def samples(self, data: Dataset) -> Dataset:
        """The table, encoded."""
        return Prepared(_table(data), self.fitted)

    def check_model(self, model: nn.Module, first: Callable[[], Any]) -> None:
        """Raise InvalidInputError unless arguments and outputs have the names that `options` say, or by default say."""
        if type(self).forward is Recipe.forward:
            check_served(self.fitted, model, lambda: self.forward(model, first()))

    def preprocessing(self) -> bytes:
        """What was fitted, as Preprocessing.of_bytes reads it."""
        return self.fitted.to_bytes()


def _table(data: Dataset) -> Table:
    if not isinstance(data, Table):
        raise InvalidInputError(f"expected a table, as open_table returns it, got {type(data).__name__}")
    return data
