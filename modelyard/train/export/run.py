"""What a run leaves, as export takes it."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.files import DIRECTORY
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train.dataset import Dataset
from modelyard.train.export.record import TrainingRecord
from modelyard.train.export.trained import Trained
from modelyard.train.export.values import Inputs
from modelyard.train.recipe import Recipe
from modelyard.train.samples import Samples
from modelyard.train.state import TrainingState

ROWS = 64
"""So many held-out samples are compared at most."""


def trained(recipe: Recipe, state: TrainingState, held_out: Dataset, record: TrainingRecord) -> Trained:
    """Return what is exported of a run.

    Args:
        recipe: that has been prepared.
        state: its state is whole: not sharded.
        held_out: two samples or more that were not trained on.
        record: how it was made.

    Raises:
        InvalidInputError: the samples are not what the model takes, or the preprocessing is not Preprocessing's.
        RecipeError: the recipe's code raised.
    """
    last = state.module.state_dict()
    inputs = Samples(recipe, held_out, record.seed).plain(np.arange(min(ROWS, len(held_out)))).inputs
    rows = named(state.module, inputs)
    return Trained(state.module, last, state.best_weights or last, rows, record, companions(state.preprocessing))


def named(module: nn.Module, inputs: Any) -> Inputs:
    """Return a batch's inputs by the names of forward's arguments.

    Raises:
        InvalidInputError: they are other ones.
    """
    names = list(inspect.signature(module.forward).parameters)
    if isinstance(inputs, Mapping):
        found = {name: inputs[name] for name in names if name in inputs}
    else:
        found = dict(zip(names, inputs if isinstance(inputs, tuple | list) else [inputs], strict=False))
    if len(found) != _count(inputs) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InvalidInputError(f"export: expected tensors for forward's arguments {', '.join(names)}")
    return found


def companions(preprocessing: bytes) -> dict[str, bytes]:
    """Return the files of a recipe's preprocessing, by path in the artifact; none: there is no preprocessing.

    Raises:
        InvalidInputError: it is something else than what Preprocessing.to_bytes returns.
    """
    if not preprocessing:
        return {}
    with tempfile.TemporaryDirectory(prefix="modelyard-preprocessing-") as own:
        Preprocessing.of_bytes(preprocessing).save(Path(own))
        return {f"{DIRECTORY}/{path.name}": path.read_bytes() for path in sorted(Path(own).iterdir())}


def _count(inputs: Mapping[str, Any] | Sequence[Any] | torch.Tensor) -> int:
    return 1 if isinstance(inputs, torch.Tensor) else len(inputs)
