from __future__ import annotations

import pytest
import torch
from torch import nn

from modelyard.errors import InvalidInputError
from tests.unit.train.recipes import Small


@pytest.mark.parametrize("samples", [[torch.zeros(3)] * 4, [{"x": 1.0, "y": 2.0}] * 4])
def test_samples_that_are_no_pairs_are_refused(samples: list[object]) -> None:
    got = type(samples[0]).__name__
    with pytest.raises(
        InvalidInputError, match=f"^collate: expected samples that are pairs .*, got {got}; a table has"
    ):
        Small().collate(samples)


def test_pairs_are_stacked() -> None:
    inputs, targets = Small().collate([(torch.zeros(3), 1), (torch.ones(3), 2)])
    assert (list(inputs.shape), targets.tolist()) == ([2, 3], [1, 2])


def test_inputs_by_name_are_arguments_by_name() -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, note: torch.Tensor) -> torch.Tensor:
            return x + note

    x = torch.ones(2)
    assert Small().forward(Sum(), {"note": torch.tensor(1.0), "x": x}).tolist() == [2, 2]
    with pytest.raises(InvalidInputError, match="takes x, label by name, as the data have it; Sum takes x, note"):
        Small().forward(Sum(), {"x": x, "label": x})


def test_a_type_error_of_the_models_own_is_not_hidden() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise TypeError("odd")

    with pytest.raises(TypeError, match="odd"):
        Small().forward(Odd(), {"x": torch.ones(2)})
