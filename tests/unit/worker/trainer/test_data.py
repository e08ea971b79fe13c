from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Dataset
from modelyard.jobs.training import TrainingData
from modelyard.rpc.registry import BlockingSource
from modelyard.train.data.balanced import BalancedTable
from modelyard_worker.trainer.data import open_data

NO_SOURCE = cast(BlockingSource, None)  # what is at a URL does not come from the registry


@pytest.fixture
def data(tmp_path: Path) -> TrainingData:
    lines = ["a,label", *(f"{number}.5,{'yes' if number % 10 == 0 else 'no'}" for number in range(40))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    return TrainingData(Dataset(url=f"file://{tmp_path / 'rows.csv'}"), target="label")


def test_what_is_trained_on_is_balanced_where_that_is_asked_for(data: TrainingData) -> None:
    whole = open_data(replace(data, balanced=True), 3, NO_SOURCE).train
    parts = open_data(replace(data, balanced=True, held_out=0.5), 3, NO_SOURCE)
    beside = open_data(replace(data, balanced=True, validation=data.dataset), 3, NO_SOURCE)
    for train in (whole, parts.train, beside.train):
        assert isinstance(train, BalancedTable)
        counts = np.unique(train.labels()[train.order(3, 0)], return_counts=True)[1]
        assert len(counts) == 2
        assert abs(counts[0] - counts[1]) <= 1
    for held_out in (parts.validation, beside.validation):
        assert held_out is not None
        assert not isinstance(held_out, BalancedTable)
    assert not isinstance(open_data(data, 3, NO_SOURCE).train, BalancedTable)


def test_there_must_be_labels_to_balance_by(data: TrainingData) -> None:
    with pytest.raises(InvalidInputError, match="column 'a': expected labels to balance by"):
        open_data(replace(data, target="a", balanced=True), 3, NO_SOURCE)
    with pytest.raises(InvalidInputError, match="expected a target, there is none"):
        open_data(replace(data, target="", balanced=True), 3, NO_SOURCE)
