from __future__ import annotations

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.train.data.sampling import Balanced, balanced, class_counts, class_weights

LABELS = np.repeat([0, 1, 2], [900, 90, 11])


def test_draws_are_balanced_and_each_sample_comes_as_often_as_it_can() -> None:
    draws = balanced(LABELS, 3, 1)
    assert len(draws) == 1001
    counts = np.bincount(LABELS[draws])
    assert counts.max() - counts.min() <= 1
    often = np.bincount(draws, minlength=1001)
    for label in range(3):
        own = often[label == LABELS]
        assert own.max() - own.min() <= 1
    assert LABELS[draws[:60]].max() == 2  # they are mixed


def test_draws_are_of_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(balanced(LABELS, 3, 1), balanced(LABELS, 3, 1))
    assert (balanced(LABELS, 3, 1) != balanced(LABELS, 3, 2)).any()
    assert (balanced(LABELS, 3, 1) != balanced(LABELS, 4, 1)).any()
    assert balanced(np.array(["a", "b", "b", "b"]), 0, 0).tolist() == [1, 0, 3, 0]  # for good, on any machine


def test_over_many_epochs_every_sample_comes() -> None:
    drawn = np.concatenate([balanced(LABELS, 0, epoch) for epoch in range(20)])
    assert len(np.unique(drawn)) == 1001


def test_a_balanced_dataset_has_an_order_of_its_own() -> None:
    dataset = Balanced([*range(1001)], LABELS)
    assert len(dataset) == 1001
    assert (dataset[7], dataset.__getitems__([5, 1])) == (7, [5, 1])
    np.testing.assert_array_equal(dataset.order(3, 1), balanced(LABELS, 3, 1))
    with pytest.raises(InvalidInputError, match="a label for each of 3 samples, got 2"):
        Balanced([1, 2, 3], np.zeros(2))


def test_weights_are_by_inverse_frequency_with_the_mean_1() -> None:
    counts = class_counts(LABELS, 4)
    assert counts.tolist() == [900, 90, 11, 0]
    weights = class_weights(counts)
    np.testing.assert_allclose(weights, [1001 / 2700, 1001 / 270, 1001 / 33, 0])
    assert weights[LABELS].mean() == pytest.approx(1)
    with pytest.raises(InvalidInputError, match=r"sample 990: expected a label of 0 \.\.\. 1, got 2"):
        class_counts(LABELS, 2)


def test_no_samples() -> None:
    assert balanced(np.zeros(0, np.int64), 0, 0).shape == (0,)
