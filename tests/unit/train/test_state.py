from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from modelyard.errors import InvalidInputError
from modelyard.train.dataset import Dataset
from modelyard.train.events import Listener
from modelyard.train.failure import RecipeError
from modelyard.train.local import training
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard.train.tally import Wish
from tests.unit.train.recipes import Small, pairs
from tests.unit.train.test_step import same

OPTIONS = TrainingOptions(epochs=3, batch_size=4, seed=3)


class Fitted(Small):
    """Fits something."""

    def prepare(self, train: Dataset) -> None:
        self._mean = torch.stack([train[i][0] for i in range(len(train))]).mean(dim=0)

    def preprocessing(self) -> bytes:
        return self._mean.numpy().tobytes()


class Leaving(Listener):
    """Wishes to leave after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def wish(self) -> Wish:
        self.steps -= 1
        return Wish(leave=self.steps == 0)


def new(recipe: Recipe | None = None) -> Training:
    return training(recipe or Fitted(normalised=True, dropout=0.2), pairs(10), pairs(5, seed=8), OPTIONS)


def after(steps: int) -> Training:
    trained = new()
    assert Loop(trained).run(Alone(), Leaving(steps).wish) == Ending.LEFT
    return trained


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_another_goes_on_from_a_state_as_if_it_were_its_own(steps: int) -> None:
    first, other = after(steps), new()
    saved = copy.deepcopy(first.state.state_dict())
    other.state.load_state_dict(first.state.state_dict())
    assert other.state.progress == first.state.progress
    assert same(other.state.state_dict(), saved)
    assert Loop(other).run(Alone()) == Ending.FINISHED
    assert same(first.state.state_dict(), saved)  # nothing is shared

    clean = new()
    Loop(clean).run(Alone())
    assert same(other.state.state_dict(), clean.state.state_dict())
    assert other.state.preprocessing == clean.state.preprocessing != b""


def test_a_new_state_is_the_same_everywhere_and_another_with_another_seed() -> None:
    assert same(new().state.state_dict(), new().state.state_dict())
    other = TrainingState.new(Fitted(normalised=True), pairs(10), TrainingOptions(seed=4))
    assert not same(new().state.module.state_dict(), other.module.state_dict())


def test_all_but_tensors_is_json() -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(name): plain(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return "tensor" if isinstance(value, torch.Tensor) else value

    assert json.loads(json.dumps(plain(after(4).state.state_dict())))["course"]["evaluated"] == 3


def test_later_states_have_the_larger_progress() -> None:
    assert [after(steps).state.progress for steps in (1, 3, 4)] == [(1, 0), (3, 0), (4, 3)]


def test_states_of_another_recipe_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected the state of this recipe's model and optimizer"):
        new(Small(hidden=3)).state.load_state_dict(new().state.state_dict())


def test_no_samples_and_raising_recipes_are_told() -> None:
    with pytest.raises(InvalidInputError, match="expected samples to train on"):
        TrainingState.new(Small(), [], OPTIONS)
    with pytest.raises(RecipeError, match="before the first step: the recipe raised RuntimeError"):
        TrainingState.new(Small(hidden=-1), pairs(3), OPTIONS)
