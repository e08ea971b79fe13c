"""From a batch to its loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelyard.errors import InvalidInputError
from modelyard.train.metric_names import check_metric_names
from modelyard.train.recipe import Recipe
from modelyard.train.samples import Batch

Values = dict[str, torch.Tensor]


class Computation(nn.Module):
    """A recipe's model with its loss: all of a step that uses parameters, and so what a Reduction wraps."""

    def __init__(self, recipe: Recipe, module: nn.Module, precision: str) -> None:
        super().__init__()
        self.module = module
        self._recipe = recipe
        self._precision = precision

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    def forward(self, batch: Batch | None) -> tuple[torch.Tensor, Values]:
        """Return the sum of the losses of a batch, FP32 [], and the sums of loss and metrics, FP64 [] each.

        Without a batch it is a zero that every parameter took part in, so that the gradients are zeros.
        """
        if batch is None:
            return self._zero(), {}
        device = self.device
        inputs, targets = on_device(batch.inputs, device), on_device(batch.targets, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            outputs = self._recipe.forward(self.module, inputs)
            loss = self._loss(outputs, targets, batch.size)
        with torch.no_grad():
            named = self._recipe.metrics if self.training else self._recipe.validation_metrics
            metrics = named(_detached(outputs), targets)
        return loss, {"loss": loss.detach().double(), **_sums(metrics, batch.size)}

    def _zero(self) -> torch.Tensor:
        parts = [parameter.sum() * 0.0 for parameter in self.module.parameters() if parameter.requires_grad]
        return torch.stack(parts).sum().float()

    def _loss(self, outputs: Any, targets: Any, size: int) -> torch.Tensor:
        loss = self._recipe.loss(outputs, targets)
        weights = self._recipe.weights(targets)
        shapes: list[tuple[int, ...]] = [(size,)] if weights is not None else [(), (size,)]
        if not isinstance(loss, torch.Tensor) or tuple(loss.shape) not in shapes:
            raise InvalidInputError(f"loss: expected {_any_shape(shapes)}, got {_shape(loss)}")
        if weights is None:
            return loss.float() * size if loss.dim() == 0 else loss.float().sum()
        if tuple(weights.shape) != (size,):
            raise InvalidInputError(f"weights: expected {_any_shape([(size,)])}, got {_shape(weights)}")
        return (loss.float() * weights.float()).sum()


def on_device(values: Any, device: torch.device) -> Any:
    """Return tensors, and those in dicts, lists and tuples, on a device."""
    if isinstance(values, torch.Tensor):
        return values.to(device, non_blocking=True)
    if isinstance(values, Mapping):
        return {name: on_device(value, device) for name, value in values.items()}
    if isinstance(values, tuple | list):
        return [on_device(value, device) for value in values]
    return values


def _detached(values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        return values.detach()
    if isinstance(values, Mapping):
        return {name: _detached(value) for name, value in values.items()}
    return [_detached(value) for value in values] if isinstance(values, tuple | list) else values


def _sums(metrics: Mapping[str, torch.Tensor], size: int) -> Values:
    check_metric_names(metrics)
    for name, values in metrics.items():
        if name == "loss" or not isinstance(values, torch.Tensor) or tuple(values.shape) != (size,):
            expected = "another name" if name == "loss" else _any_shape([(size,)])
            raise InvalidInputError(f"metrics: {name!r:.100}: expected {expected}, got {_shape(values)}")
    return {name: values.double().sum() for name, values in metrics.items()}


def _any_shape(shapes: list[tuple[int, ...]]) -> str:
    return "a tensor of shape " + " or ".join(str(list(shape)) for shape in shapes)


def _shape(value: object) -> str:
    return f"one of {list(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
