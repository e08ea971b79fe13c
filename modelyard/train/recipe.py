"""What is trained, in the user's own words."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import default_collate

from modelyard.errors import InvalidInputError
from modelyard.train import parameters as declarations
from modelyard.train.dataset import Dataset


class Recipe(ABC):
    """A model, its loss and its optimizer. Its parameters are its class's annotated attributes: `lr: float = 0.1`.

    A parameter is a bool, int, float, str, Literal, or a tuple, list or option of these; one without a default must be
    given. Everything a recipe does must follow from its parameters, its data and torch's, numpy's or Python's random
    numbers, which are seeded before it is asked: it runs in several processes, which must come to the same.

    Attributes:
        clip_norm: gradients whose 2-norm is larger are scaled down to it; None: never.
        parameters: all of them, by name: what can be written as JSON.
    """

    clip_norm: float | None = None

    def __init__(self, **parameters: Any) -> None:
        """Take parameters by name.

        Raises:
            InvalidInputError: one is unknown, missing, or of the wrong type; those there are are named.
        """
        self.parameters = declarations.checked(type(self), parameters)
        for name, value in self.parameters.items():
            setattr(self, name, value)

    @classmethod
    def from_text(cls, texts: Mapping[str, str]) -> Self:
        """Return a recipe with parameters that were given as text: JSON, or a string as it is.

        Raises:
            InvalidInputError: as the constructor.
        """
        return cls(**declarations.from_text(cls, texts))

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a new model; random numbers are the same in every process."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        """Return the mean over samples, [], or, as `weights` needs it, a loss for each: [batch]."""

    @abstractmethod
    def optimizer(self, model: nn.Module) -> Optimizer:
        """Return an optimizer of the model's parameters."""

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
        """Return further values by name, each [batch]; their means are told. The same names every time."""
        del outputs, targets
        return {}

    def validation_metrics(self, outputs: Any, targets: Any) -> Mapping[str, torch.Tensor]:
        """As `metrics`, for validation data."""
        return self.metrics(outputs, targets)

    def summary(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """Return what is told of an epoch, made of the means over its samples: the root of a mean square, say."""
        return means

    def weights(self, targets: Any) -> torch.Tensor | None:
        """Return what each sample counts, [batch]: by its class, for instance. Their mean over the data should be 1.

        The weighted losses are divided by the number of samples, not by the sum of weights, so that it does not matter
        which samples are in a batch together.
        """
        del targets
        return None

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """Return what changes the learning rate; it is stepped after each of so many steps."""
        del optimizer, steps
        return None

    def prepare(self, train: Dataset) -> None:
        """Look at the data before anything else is called: to count classes, to fit a scaling."""
        del train

    def samples(self, data: Dataset) -> Dataset:
        """Return what is trained or evaluated on, made of such data: encoded, for instance, as `prepare` fitted it."""
        return data

    def preprocessing(self) -> bytes:
        """Return what `prepare` fitted, as data that travels with the model; empty: nothing."""
        return b""

    def check_model(self, model: nn.Module, first: Callable[[], Any]) -> None:
        """Look at the model before it is trained, once the data are prepared: raise InvalidInputError if it is none.

        Not where ranks share a model.

        Args:
            model: as `model` returned it, where it is trained.
            first: returns the first sample's inputs, in a batch of one.
        """
        del model, first

    def augment(self, sample: Any, generator: np.random.Generator) -> Any:
        """Return a variant of a training sample; random numbers follow from seed, epoch and the sample's number."""
        del generator
        return sample

    def collate(self, samples: Sequence[Any]) -> tuple[Any, Any]:
        """Return (inputs, targets) of samples that are such pairs, their values stacked.

        Raises:
            InvalidInputError: they are no pairs.
        """
        pair = default_collate(list(samples))
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise InvalidInputError(
                f"collate: expected samples that are pairs (inputs, targets), got {type(samples[0]).__name__}; a table "
                "has targets once its target column is named"
            )
        return pair[0], pair[1]

    def forward(self, model: nn.Module, inputs: Any) -> Any:
        """Return the model's outputs for a batch; inputs by name become arguments by name.

        Raises:
            InvalidInputError: the model has no such arguments.
        """
        if isinstance(inputs, Mapping):
            return _by_name(model, inputs)
        return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _by_name(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    try:
        return model(**inputs)
    except TypeError:
        taken = inspect.signature(model.forward)
        try:
            taken.bind(**inputs)
        except TypeError:
            raise InvalidInputError(
                f"expected a model that takes {', '.join(inputs)} by name, as the data have it; {type(model).__name__} "
                f"takes {', '.join(taken.parameters) or 'nothing'}. Columns are chosen as features"
            ) from None
        raise
