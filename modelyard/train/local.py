"""Training in this process: a recipe on a laptop, without the suite."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.train.computation import on_device
from modelyard.train.course import EpochRecord
from modelyard.train.dataset import Dataset
from modelyard.train.events import Listener, Several
from modelyard.train.failure import of_recipe
from modelyard.train.loop import Ending, Loop
from modelyard.train.options import TrainingOptions
from modelyard.train.progress import TerminalProgress
from modelyard.train.recipe import Recipe
from modelyard.train.reduction import Alone
from modelyard.train.samples import Samples
from modelyard.train.state import TrainingState
from modelyard.train.step import Training


@dataclass(frozen=True)
class LocalResult:
    """What came of a run.

    Attributes:
        module: with the last weights, ready to be evaluated.
        history: of its epochs.
        ending: FINISHED or STOPPED_EARLY.
        state: all of it, as a checkpoint has it.
    """

    module: nn.Module
    history: tuple[EpochRecord, ...]
    ending: Ending
    state: TrainingState

    @property
    def best_weights(self) -> dict[str, torch.Tensor]:
        """The module's state_dict after the best epoch; empty: it was not kept."""
        return self.state.best_weights


def training(
    recipe: Recipe, train: Dataset, validation: Dataset | None, options: TrainingOptions, device: str = "cpu"
) -> Training:
    """Return what a rank trains, before the first step.

    Raises:
        InvalidInputError: there are no samples, the recipe refuses them, or the model is not what its preprocessing is
            made for.
        RecipeError: its code raised.
    """
    _check_kinds(recipe, train=train, validation=validation)
    made = training_of(TrainingState.new(recipe, train, options, device), recipe, train, validation, options)
    with of_recipe("before the first step"):
        recipe.check_model(made.state.module, lambda: _first(made))
    return made


def _first(made: Training) -> Any:
    """The first sample's inputs, in a batch of one, where the model is."""
    return on_device(made.train.plain(np.arange(1)).inputs, made.computation().device)


def training_of(
    state: TrainingState, recipe: Recipe, train: Dataset, validation: Dataset | None, options: TrainingOptions
) -> Training:
    """As `training`, of a state that is made already.

    Raises:
        InvalidInputError: the recipe refuses the data.
        RecipeError: its code raised.
    """
    samples = Samples(recipe, train, options.seed, shuffled=options.shuffled)
    held_out = Samples(recipe, validation, options.seed) if validation is not None and len(validation) else None
    return Training(recipe, state, options, samples, held_out)


def _check_kinds(recipe: object, **datasets: object) -> None:
    if not isinstance(recipe, Recipe):
        got = f"the class {recipe.__name__}" if isinstance(recipe, type) else type(recipe).__name__
        raise InvalidInputError(f"recipe: expected an instance of a Recipe, got {got}")
    for name, dataset in datasets.items():
        if dataset is not None and not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            got = type(dataset).__name__
            raise InvalidInputError(f"{name}: expected a list or a map-style dataset: len() and [number]; got {got}")


def run_local(
    recipe: Recipe,
    train: Dataset,
    validation: Dataset | None = None,
    options: TrainingOptions | None = None,
    *,
    listener: Listener | None = None,
    progress: bool = False,
    device: str = "cpu",
) -> LocalResult:
    """Train a recipe in this process: what a job with one worker would do.

    Args:
        recipe: an instance, with its parameters.
        train: samples to train on.
        validation: samples held out, which are evaluated after every epoch; None: none.
        options: None: one epoch, in batches of 32.
        listener: is told how it goes.
        progress: show it in the terminal.
        device: of torch: "cpu", "cuda".

    Raises:
        InvalidInputError: data, options and recipe do not fit.
        RecipeError: the user's code raised; it has the traceback.
        NonFiniteError: a loss is not finite; it names the step and the samples.
    """
    options = options or TrainingOptions()
    trained = training(recipe, train, validation, options, device)
    shown = TerminalProgress(options.total_steps(len(train))) if progress else None
    told = Several(*(one for one in (listener, shown) if one is not None))
    with shown or nullcontext():
        ending = Loop(trained, told).run(Alone())
    state = trained.state
    return LocalResult(state.module.eval(), tuple(state.course.history), ending, state)
