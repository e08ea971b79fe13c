"""Imbalanced data: what a class should weigh, and orders in which each class comes as often as any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError
from modelyard.train.dataset import Dataset
from modelyard.train.order import Indices, key

Weights = npt.NDArray[np.float64]


def class_counts(labels: Array, classes: int) -> Indices:
    """How many samples each class has, INT64 [classes].

    Raises:
        InvalidInputError: a label is not one of 0 ... classes - 1; its sample is named.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        got = labels[wrong[0]]
        raise InvalidInputError(f"sample {wrong[0]}: expected a label of 0 ... {classes - 1}, got {got}")
    return np.bincount(labels, minlength=classes).astype(np.int64)


def class_weights(counts: Sequence[int] | Indices) -> Weights:
    """The weight of each class by its inverse frequency, FP64: samples / (classes with samples * its samples).

    The mean weight of a sample is 1. A class without samples has weight 0.
    """
    found = np.asarray(counts, np.float64)
    with np.errstate(divide="ignore"):
        return np.where(found > 0, found.sum() / (np.count_nonzero(found) * found), 0.0)


def balanced(labels: Array, seed: int, epoch: int) -> Indices:
    """Return an epoch's draws, INT64 [samples]: as many as there are samples, as many of each label, but for one.

    Of a label with more samples than draws each is drawn once at most; of one with fewer each equally often, but for
    one. Everything follows from labels, seed and epoch, by Philox as in order.py.
    """
    source = np.random.Philox(key=key("balanced", seed, epoch))
    _, classes = np.unique(labels, return_inverse=True)
    members = [np.flatnonzero(classes == number) for number in range(classes.max(initial=-1) + 1)]
    ranks = np.argsort(np.argsort(source.random_raw(len(members)), kind="stable"), kind="stable")
    drawn = [np.zeros(0, np.int64)]
    for own, rank in zip(members, ranks.tolist(), strict=True):
        wanted = len(labels) // len(members) + (rank < len(labels) % len(members))
        permuted = own[np.argsort(source.random_raw(len(own)), kind="stable")]
        drawn.append(np.resize(permuted, wanted))
    entries = np.concatenate(drawn)
    return entries[np.argsort(source.random_raw(len(entries)), kind="stable")].astype(np.int64)


class Balanced:
    """A dataset whose epochs are balanced draws. An epoch has as many entries as there are samples."""

    def __init__(self, dataset: Dataset, labels: Array) -> None:
        """Take the label of each sample, [samples].

        Raises:
            InvalidInputError: there are not as many.
        """
        if len(labels) != len(dataset):
            raise InvalidInputError(f"expected a label for each of {len(dataset)} samples, got {len(labels)}")
        self._dataset = dataset
        self._labels = labels

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        several = getattr(self._dataset, "__getitems__", None)
        return list(several(indices) if several else map(self._dataset.__getitem__, indices))

    def order(self, seed: int, epoch: int) -> Indices:
        """The numbers of the samples in the order of an epoch, instead of that of `train.order`."""
        return balanced(self._labels, seed, epoch)
