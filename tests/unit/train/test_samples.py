from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.train.failure import RecipeError
from modelyard.train.order import Indices, order
from modelyard.train.samples import Samples
from tests.unit.train.recipes import Augmented, Pair, Small, pairs


class Several:
    """Reads several samples at once, in an order of its own."""

    def __init__(self, values: list[Pair], own: list[int]) -> None:
        self.values = values
        self.own = own

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Pair:
        raise AssertionError(f"one at a time: {index}")

    def __getitems__(self, indices: Sequence[int]) -> list[Pair]:
        return [self.values[index] for index in indices]

    def order(self, seed: int, epoch: int) -> Indices:
        return np.roll(np.array(self.own, np.int64), seed + epoch)


def test_batches_are_stacked_pairs() -> None:
    data = pairs(9)
    batch = Samples(Small(), data, seed=1).plain(np.array([4, 2]))
    assert batch.size == 2
    assert torch.equal(batch.inputs, torch.stack([data[4][0], data[2][0]]))
    assert torch.equal(batch.targets, torch.stack([data[4][1], data[2][1]]))


def test_order_is_of_seed_and_epoch() -> None:
    samples = Samples(Small(), pairs(9), seed=5)
    assert np.array_equal(samples.order(2), order(9, 5, 2))
    assert np.array_equal(samples.order(3), order(9, 5, 3))
    assert samples.order(2).tolist() != samples.order(3).tolist()
    assert Samples(Small(), pairs(3), seed=5, shuffled=False).order(2).tolist() == [0, 1, 2]


def test_datasets_may_have_an_order_and_read_several() -> None:
    data = pairs(3)
    samples = Samples(Small(), Several(data, [0, 0, 2]), seed=1)
    assert samples.order(1).tolist() == [0, 2, 0]
    assert torch.equal(samples.plain(samples.order(1)).inputs[1], data[2][0])
    with pytest.raises(InvalidInputError, match=r"expected 3 numbers of samples, got shape \[2\]"):
        Samples(Small(), Several(data, [0, 1]), seed=1).order(0)


def test_variants_follow_from_seed_epoch_and_number() -> None:
    def variant(seed: int, epoch: int, indices: list[int]) -> torch.Tensor:
        inputs: torch.Tensor = Samples(Augmented(), pairs(9), seed).training(epoch, np.array(indices)).inputs
        return inputs

    first = variant(1, 0, [3, 5])
    assert torch.equal(first[1], variant(1, 0, [5])[0])
    assert not torch.equal(first[1], variant(1, 1, [5])[0])
    assert not torch.equal(first[1], variant(2, 0, [5])[0])
    assert not torch.equal(variant(1, 0, [3])[0] - pairs(9)[3][0], variant(1, 0, [5])[0] - pairs(9)[5][0])
    plain = Samples(Augmented(), pairs(9), 1).plain(np.array([5]))
    assert torch.equal(plain.inputs[0], pairs(9)[5][0])


def test_collate_must_return_a_pair() -> None:
    class Wrong(Small):
        def collate(self, samples: Sequence[Any]) -> Any:
            return [samples]

    with pytest.raises(InvalidInputError, match=r"expected a pair \(inputs, targets\), got list"):
        Samples(Wrong(), pairs(2), 0).plain(np.array([0]))


class Doubled(Small):
    """Makes other samples of its data: twice the inputs, without the last `short`."""

    short: int = 0

    def samples(self, data: Any) -> Any:
        if self.short < 0:
            raise ValueError("no such samples")
        return [(2 * inputs, target) for inputs, target in data][: len(data) - self.short]


def test_a_recipe_may_make_other_samples_but_not_another_number_of_them() -> None:
    data = pairs(5)
    assert torch.equal(Samples(Doubled(), data, 0).plain(np.array([3])).inputs[0], 2 * data[3][0])
    with pytest.raises(InvalidInputError, match="samples: expected 5 as before, got 3"):
        Samples(Doubled(short=2), data, 0)
    with pytest.raises(RecipeError, match="no such samples"):
        Samples(Doubled(short=-1), data, 0)
