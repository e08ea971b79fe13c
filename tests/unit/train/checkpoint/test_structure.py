"""States are taken apart and put together again, bit by bit."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.errors import DataLossError, InvalidInputError
from modelyard.train.checkpoint.structure import put_together, take_apart
from tests.unit.train.checkpoint.programs import equal

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(st.integers(), inner)
    ),
    max_leaves=12,
)


def again(state: dict[str, Any]) -> Any:
    tensors, structure = take_apart(state)
    return put_together(json.loads(json.dumps(structure, allow_nan=False)), tensors)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_values_come_back_as_they_were(state: dict[str, Any]) -> None:
    assert equal(again(state), state)


def test_what_is_not_a_number_comes_back() -> None:
    assert math.isnan(again({"x": float("nan")})["x"])
    assert again({"x": (float("inf"), -float("inf"), np.float64(2.5))}) == {"x": (math.inf, -math.inf, 2.5)}


def test_tensors_are_named_by_their_paths_and_not_copied() -> None:
    one, two = torch.ones(2), torch.zeros(0)
    tensors, structure = take_apart({"a/b": {"c~": one}, "a": {"b": {"c~": two}}, "list": [0, one]})
    assert list(tensors) == ["a~1b/c~0", "a/b/c~0", "list/1"]
    assert tensors["a~1b/c~0"] is one
    assert put_together(structure, tensors)["a"]["b"]["c~"] is two


def test_an_optimizer_goes_on_as_if_nothing_had_happened() -> None:
    def stepped(model: torch.nn.Linear, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        optimizer.zero_grad()
        model(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()
        return model.weight.detach().clone()

    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    stepped(model, optimizer)
    other = torch.nn.Linear(4, 2)
    other.load_state_dict(again(dict(model.state_dict())))
    fresh = torch.optim.AdamW(other.parameters(), 0.5)
    tensors, structure = take_apart(optimizer.state_dict())
    fresh.load_state_dict(put_together(structure, {key: tensor.clone() for key, tensor in tensors.items()}))
    assert torch.equal(stepped(model, optimizer), stepped(other, fresh))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": object()}}, "state: a/b: expected tensors, numbers, texts or None, got object"),
        ({"a": {1.5: 0}}, "state: a: expected texts or whole numbers as keys, got float"),
        ({"a": [b"x"]}, "state: a/0: expected .* got bytes"),
    ],
)
def test_what_cannot_be_saved_is_named(state: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        take_apart(state)


@pytest.mark.parametrize("structure", [{"tensor": "x"}, {"other": 1}, {}, {"items": [[1]]}, {"float": "x"}])
def test_what_was_not_taken_apart_is_refused(structure: Any) -> None:
    with pytest.raises(DataLossError, match="state: expected what a checkpoint has"):
        put_together(structure, {})
