"""What a run leaves, as export takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train import TrainingOptions, run_local
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.run import ROWS, companions, named, trained
from modelyard.train.position import Position
from tests import reviews
from tests.unit.train.export.modules import Two
from tests.unit.train.recipes import FEATURES, Small, pairs

TOKENS, NUMBERS = torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 2)


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_run_leaves_its_weights_and_held_out_rows(keep_best: bool) -> None:
    held_out = pairs(ROWS + 6, seed=8)
    options = TrainingOptions(epochs=3, keep_best=keep_best, metric="accuracy", mode="min")
    result = run_local(Small(), pairs(64), held_out, options)
    record = TrainingRecord(0, Position())
    found = trained(Small(), result.state, held_out, record)
    assert found.record is record
    assert found.companions == {}
    assert list(found.rows) == ["input"]
    assert found.rows["input"].shape == (ROWS, FEATURES)
    assert torch.equal(found.rows["input"][3], held_out[3][0])
    assert found.last.keys() == found.best.keys()
    same = all(torch.equal(found.last[name], found.best[name]) for name in found.last)
    assert same == (not keep_best or result.history[-1].best)
    assert keep_best == bool(result.best_weights)


@pytest.mark.parametrize("inputs", [(TOKENS, NUMBERS), [TOKENS, NUMBERS], {"numbers": NUMBERS, "tokens": TOKENS}])
def test_inputs_have_the_names_of_forwards_arguments_and_their_order(inputs: Any) -> None:
    found = named(Two(), inputs)
    assert list(found) == ["tokens", "numbers"]
    assert found["tokens"] is TOKENS


@pytest.mark.parametrize("inputs", [{"words": TOKENS}, (TOKENS, NUMBERS, NUMBERS), ["a", "b"]])
def test_inputs_that_forward_does_not_take_are_refused(inputs: Any) -> None:
    with pytest.raises(InvalidInputError, match="expected tensors for forward's arguments tokens, numbers"):
        named(Two(), inputs)


def test_one_tensor_is_the_first_argument() -> None:
    assert list(named(nn.ReLU(), NUMBERS)) == ["input"]


def test_preprocessing_becomes_files(tmp_path: Path) -> None:
    fitted = reviews.preprocessing()
    files = companions(fitted.to_bytes())
    assert sorted(files) == ["preprocessing/preprocessing.json", "preprocessing/tokenizer.json"]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert Preprocessing.load(tmp_path / "preprocessing").to_bytes() == fitted.to_bytes()
    with pytest.raises(InvalidInputError):
        companions(b"something of their own")
