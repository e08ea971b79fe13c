from __future__ import annotations

import numpy as np
import pytest

from modelyard.datasets.columns import Array
from modelyard.errors import InvalidInputError
from modelyard.train.data.splitting import split


def test_every_sample_is_in_one_part() -> None:
    parts = split(1003, 5, (0.7, 0.2, 0.1))
    assert [len(part) for part in parts] == [702, 201, 100]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(1003))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_it_is_of_seed_and_number_alone() -> None:
    one, other = split(12, 3, (0.5, 0.5)), split(12, 3, (0.5, 0.5))
    np.testing.assert_array_equal(one, other)
    assert one[0].tolist() == [0, 1, 4, 5, 6, 9]  # as it was when this was written, on any machine, for good
    assert split(12, 4, (0.5, 0.5))[0].tolist() != one[0].tolist()


def test_the_validation_part_stays_when_the_rest_is_cut_again() -> None:
    assert split(500, 1, (0.6, 0.2, 0.2))[2].tolist() == split(500, 1, (0.8, 0.2))[1].tolist()


@pytest.mark.parametrize("kind", [np.int64, object])
def test_each_label_has_its_share(kind: type) -> None:
    labels: Array = np.repeat([0, 1, 2], [900, 90, 11]).astype(kind)
    train, validation = split(1001, 0, (0.8, 0.2), labels)
    assert np.bincount(labels[train].astype(int)).tolist() == [720, 72, 9]
    assert np.bincount(labels[validation].astype(int)).tolist() == [180, 18, 2]
    assert len(np.intersect1d(train, validation)) == 0


@pytest.mark.parametrize("fractions", [(), (0.5,), (0.9, 0.2), (1.2, -0.2), (1.0, 0.0), (float("nan"), 0.5)])
def test_fractions_that_are_none(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInputError, match="expected fractions above 0 with the sum 1"):
        split(100, 0, fractions)


def test_a_part_without_a_sample() -> None:
    with pytest.raises(InvalidInputError, match="expected enough samples"):
        split(3, 0, (0.9, 0.1))
    with pytest.raises(InvalidInputError, match="a label for each of 3 samples, got 2"):
        split(3, 0, (0.5, 0.5), np.zeros(2))
