"""Names of outputs, and how far outputs may be apart."""

from __future__ import annotations

import math

import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.train.export.values import Tolerance, name_outputs

ONE, TWO = torch.ones(1), torch.ones(2)


def test_outputs_are_named_as_a_program_names_them() -> None:
    assert list(name_outputs(ONE)) == ["output"]
    assert list(name_outputs((ONE, [TWO]))) == ["output_0", "output_1_0"]
    assert list(name_outputs({"logits": ONE, "aux": (ONE, TWO)})) == ["logits", "aux_0", "aux_1"]
    assert list(name_outputs(({"a": ONE},))) == ["output_0_a"]


@pytest.mark.parametrize("value", [None, 1.0, {1: ONE}, (ONE, "x")])
def test_outputs_are_tensors(value: object) -> None:
    with pytest.raises(InvalidInputError, match="expected tensors, tuples and dicts as outputs"):
        name_outputs(value)


def test_how_far_they_are_apart() -> None:
    tolerance = Tolerance(absolute=0.1, relative=0.5)
    wanted = {"x": torch.tensor([1.0, -2.0, math.inf, math.nan]), "empty": torch.empty(0)}
    assert tolerance.check(wanted, wanted) == 0
    near = {"x": torch.tensor([1.59, -3.09, math.inf, math.nan]), "empty": torch.empty(0)}
    assert tolerance.check(near, wanted) == pytest.approx(1.09)
    for far in ([1.61, -2, math.inf, math.nan], [1, -2, 5, math.nan], [1, -2, math.inf, 0], [1, math.nan, math.inf, 0]):
        with pytest.raises(InvalidInputError, match="x: expected what the trained module returns"):
            tolerance.check({"x": torch.tensor(far), "empty": torch.empty(0)}, wanted)


def test_whole_numbers_are_equal() -> None:
    with pytest.raises(InvalidInputError, match="got a difference of 1"):
        Tolerance(10.0, 10.0).check({"x": torch.tensor([1, 2])}, {"x": torch.tensor([1, 3])})
    with pytest.raises(InvalidInputError, match=r"x: expected torch.int64 \[2\], got torch.int32 \[2\]"):
        Tolerance().check({"x": torch.tensor([1, 2], dtype=torch.int32)}, {"x": torch.tensor([1, 2])})
    with pytest.raises(InvalidInputError, match="expected the outputs x; got y"):
        Tolerance().check({"y": ONE}, {"x": ONE})
