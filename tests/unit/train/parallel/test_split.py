from __future__ import annotations

import itertools

import pytest
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.split import names, split
from modelyard.train.parallel.tensor import default_plan


def model(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)))


@pytest.mark.parametrize(
    ("widths", "stages", "layers"),
    [
        ((4, 4, 4, 4, 4), 2, [["0", "1"], ["2", "3"]]),
        ((1, 100, 1, 1, 1), 2, [["0"], ["1", "2", "3"]]),
        ((1, 1, 1, 100, 100), 2, [["0", "1", "2"], ["3"]]),
        ((9, 9, 1, 1), 3, [["0"], ["1"], ["2"]]),
        ((4, 4, 4, 4), 1, [["0", "1", "2"]]),
    ],
)
def test_stages_are_of_about_the_same_size(widths: tuple[int, ...], stages: int, layers: list[list[str]]) -> None:
    whole = model(*widths)
    parts = split(object(), whole, stages)
    assert [[name for name, _ in part.named_children()] for part in parts] == layers
    assert {name for part in parts for (name,) in names(whole, part).values()} == set(whole.state_dict())


class Twice:
    """Has one layer in two stages."""

    def pipeline_split(self, model: nn.Module, stages: int) -> list[nn.Module]:
        return [model] * stages


class Few(Twice):
    """Has one stage."""

    def pipeline_split(self, model: nn.Module, stages: int) -> list[nn.Module]:
        return [model]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Twice(), "pipeline_split: expected each parameter in one stage, got one in two of them"),
        (Few(), "pipeline_split: expected 2 stages, got 1"),
        (object(), "an nn.Sequential of at least 2 layers; got Sequential of 1"),
    ],
)
def test_what_is_no_split_is_named(recipe: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        split(recipe, model(3, 3), 2)


def test_layers_are_shared_in_pairs() -> None:
    inner = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8))
    whole = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 8), nn.LayerNorm(8), inner, nn.Linear(8, 3))
    assert sorted(default_plan(whole, 2)) == ["0", "2", "4.0", "4.2"]
    assert sorted(default_plan(whole, 4)) == ["0", "2", "4.2", "5"]
    assert default_plan(nn.Linear(4, 4), 2) == {}
    assert default_plan(nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4)), 2) == {}
