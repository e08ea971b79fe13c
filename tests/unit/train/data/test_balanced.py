"""Tables whose epochs are balanced, and what a recipe makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.train.data.balanced import BalancedTable
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.sampling import balanced
from modelyard.train.data.table import Table
from modelyard.train.samples import Samples
from tests.unit.train.data.test_recipe import Fitted

LABELS = ["no"] * 27 + ["yes"] * 3


def table(directory: Path, labels: list[str], target: str | None = "y") -> Table:
    lines = ["a,b,y", *(f"{number}.5,{number % 7},{label}" for number, label in enumerate(labels))]
    (directory / "rows.csv").write_text("\n".join(lines) + "\n")
    return open_table(directory / "rows.csv", TableOptions(target=target))


def test_each_label_comes_as_often_through_any_recipe(tmp_path: Path) -> None:
    train = BalancedTable(table(tmp_path, LABELS))
    recipe = Fitted()
    recipe.prepare(train)
    samples = Samples(recipe, train, seed=5)
    orders = [samples.order(epoch) for epoch in range(2)]
    labels = np.array(LABELS)
    for epoch, order in enumerate(orders):
        np.testing.assert_array_equal(order, balanced(labels, 5, epoch))
        assert np.unique(labels[order], return_counts=True)[1].tolist() == [15, 15]
    assert (orders[0] != orders[1]).any()
    assert samples.plain(orders[0]).targets.tolist() == (labels[orders[0]] == "yes").astype(int).tolist()


def test_only_the_part_that_is_trained_on_is_balanced(tmp_path: Path) -> None:
    train, _ = table(tmp_path, LABELS).split((0.5, 0.5), seed=1, stratified=True)
    part = BalancedTable(train)
    assert len(part) == len(train) == len(part.order(0, 0))
    drawn = part.labels()[part.order(0, 0)]
    counts = np.unique(drawn, return_counts=True)[1]
    assert abs(counts[0] - counts[1]) <= 1


def test_whole_numbers_are_labels_too(tmp_path: Path) -> None:
    part = BalancedTable(table(tmp_path, ["3", "3", "3", "8"]))
    assert sorted(part.labels()[part.order(0, 0)].tolist()) == [3, 3, 8, 8]


def test_what_are_no_labels_is_refused(tmp_path: Path) -> None:
    message = "column 'y': expected labels to balance by, text or whole numbers; got float"
    with pytest.raises(InvalidInputError, match=message):
        BalancedTable(table(tmp_path, ["0.5", "1.5"]))
    with pytest.raises(InvalidInputError, match=r"rows.csv: expected a target, there is none"):
        BalancedTable(table(tmp_path, LABELS, target=None))
