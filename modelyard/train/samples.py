"""Where samples come from, and how they become batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.errors import InvalidInputError
from modelyard.train.dataset import Dataset
from modelyard.train.failure import of_recipe
from modelyard.train.order import Indices, key, order
from modelyard.train.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """Samples, collated.

    Attributes:
        size: how many.
    """

    inputs: Any
    targets: Any
    size: int


class Samples:
    """A dataset as a recipe wants it.

    Attributes:
        reads: how many batches were asked for.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, seed: int, *, shuffled: bool = True) -> None:
        """Take a dataset, once the recipe has been prepared (TrainingState.new does that).

        Raises:
            InvalidInputError: the recipe refuses it, or makes another number of samples of it.
            RecipeError: its code raised.
        """
        self._recipe = recipe
        with of_recipe("before the first step"):
            self._dataset = recipe.samples(dataset)
        self._own = next((found for one in (self._dataset, dataset) if (found := getattr(one, "order", None))), None)
        if len(self._dataset) != len(dataset):
            raise InvalidInputError(f"samples: expected {len(dataset)} as before, got {len(self._dataset)}")
        self.reads = 0
        self._seed = seed
        self._shuffled = shuffled
        self._augmented = type(recipe).augment is not Recipe.augment
        self._order: tuple[int, Indices] = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self._dataset)

    def order(self, epoch: int) -> Indices:
        """The numbers of the samples in the order of an epoch, INT64 [samples].

        Raises:
            InvalidInputError: the dataset's own order has another length.
        """
        if self._order[0] != epoch:
            self._order = epoch, self._ordered(epoch)
        return self._order[1]

    def _ordered(self, epoch: int) -> Indices:
        if self._own is None:
            return order(len(self), self._seed, epoch, shuffled=self._shuffled)
        found = np.asarray(self._own(self._seed, epoch), np.int64)
        if found.shape != (len(self),):
            raise InvalidInputError(f"order: expected {len(self)} numbers of samples, got shape {list(found.shape)}")
        return found

    def training(self, epoch: int, indices: Indices) -> Batch:
        """Return samples to be trained on: augmented.

        Raises:
            InvalidInputError: the recipe's `collate` returns no pair.
        """
        return self._collated(self._variant(epoch, i, sample) for i, sample in self._read(indices))

    def plain(self, indices: Indices) -> Batch:
        """Return samples as they are.

        Raises:
            InvalidInputError: the recipe's `collate` returns no pair.
        """
        return self._collated(sample for _, sample in self._read(indices))

    def _read(self, indices: Indices) -> Any:
        self.reads += 1
        numbers = indices.tolist()
        several = getattr(self._dataset, "__getitems__", None)
        return zip(numbers, several(numbers) if several else map(self._dataset.__getitem__, numbers), strict=True)

    def _variant(self, epoch: int, index: int, sample: Any) -> Any:
        if not self._augmented:
            return sample
        bits = np.random.Philox(key=key("augment", self._seed, epoch, index))
        return self._recipe.augment(sample, np.random.Generator(bits))

    def _collated(self, samples: Any) -> Batch:
        read: Sequence[Any] = list(samples)
        pair = self._recipe.collate(read)
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise InvalidInputError(f"collate: expected a pair (inputs, targets), got {type(pair).__name__}")
        return Batch(pair[0], pair[1], len(read))
