"""Whether a model can be served with what was fitted to its data: found out before it is trained, not after."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.preprocessing.preprocessing import Preprocessing
from modelyard.train.export.values import name_outputs


def check_served(fitted: Preprocessing, model: nn.Module, outputs: Callable[[], Any]) -> None:
    """Compare the names that were fitted for with the model's arguments, and with its outputs if these are decoded.

    Args:
        fitted: to the training data.
        model: not trained yet; its weights and buffers stay as they are.
        outputs: calls the model with some rows.

    Raises:
        InvalidInputError: the model has no such arguments, or no such outputs; as `outputs`.
    """
    arguments = [*inspect.signature(model.forward).parameters]
    _check(model, "an argument", {encoding.to for encoding in fitted.encodings}, arguments, "to")
    if not fitted.decodings:
        return
    was = model.training
    model.eval()
    with torch.no_grad():
        named = name_outputs(outputs())
    model.train(was)
    _check(model, "an output", {decoding.output for decoding in fitted.decodings}, [*named], "output")


def _check(model: nn.Module, what: str, wanted: Collection[str], there: list[str], option: str) -> None:
    missing = sorted({*wanted} - {*there})
    if missing:
        name = type(model).__name__
        raise InvalidInputError(
            f"expected a model with {what} {missing[0]!r}, as it is served with preprocessing; {name} has "
            f"{', '.join(there)}: rename it in the model, or say {option}={there[0]!r} in the recipe's options"
        )
