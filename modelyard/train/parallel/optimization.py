"""The state of an optimizer of parts, as that of one optimizer of the whole model, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.gathering import gather_values, parts_of
from modelyard.train.parallel.placement import Placement

Groups = tuple[tuple[str, ...], ...]
"""The names of the whole model's parameters in the groups of an optimizer of it, in its order."""


def groups_of(model: nn.Module, optimizer: Optimizer) -> Groups:
    """Return how an optimizer of a whole model names its parameters."""
    named = {id(tensor): name for name, tensor in model.state_dict(keep_vars=True).items()}
    return tuple(tuple(named[id(parameter)] for parameter in group["params"]) for group in optimizer.param_groups)


class PartialOptimizer:
    """An optimizer of what a rank has of a model."""

    def __init__(self, optimizer: Optimizer, placement: Placement, groups: Groups) -> None:
        """Take an optimizer and what one of the whole model would have.

        Raises:
            InvalidInputError: they have not as many groups of parameters.
        """
        if len(optimizer.param_groups) != len(groups):
            raise InvalidInputError(
                f"optimizer: expected {len(groups)} groups of parameters, as for the whole model, "
                f"got {len(optimizer.param_groups)}"
            )
        self._optimizer = optimizer
        self._placement = placement
        self._groups = groups
        names = [name for group in groups for name in group]
        self._numbers = {name: number for number, name in enumerate(names)}

    def gather(self) -> dict[str, Any]:
        """Return the whole state_dict, on the CPU, on rank 0; on others one without state. All ranks call it."""
        named = self._named()
        parts = {
            (self._numbers[named[id(parameter)]], key): value
            for parameter, values in self._optimizer.state.items()
            for key, value in values.items()
        }
        state: dict[int, dict[str, Any]] = {}
        for (number, key), value in sorted(gather_values(self._placement, parts).items(), key=lambda item: item[0][0]):
            state.setdefault(number, {})[key] = value
        saved = self._optimizer.state_dict()["param_groups"]
        numbers = [[self._numbers[name] for name in group] for group in self._groups]
        return {
            "state": state,
            "param_groups": [{**group, "params": own} for group, own in zip(saved, numbers, strict=True)],
        }

    def scatter(self, values: dict[str, Any]) -> None:
        """Become this rank's part of a whole state_dict, which all ranks have.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: it is that of something else (torch's).
            InvalidInputError: a parameter is cut and part of its state has another shape than it.
        """
        named = self._named()
        own = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        saved = {number: values["state"].get(self._numbers[named[id(p)]], {}) for number, p in enumerate(own)}
        cut, whole = _cut(own, saved)
        state = {number: dict(entries) for number, entries in saved.items() if entries}
        for (number, key), value in parts_of(cut, whole).items():
            state[number][key] = value
        mine = self._optimizer.state_dict()["param_groups"]
        groups = [{**told, "params": has["params"]} for told, has in zip(values["param_groups"], mine, strict=True)]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _named(self) -> dict[int, str]:
        """What the whole model calls this rank's parameters."""
        known = self._placement.names
        return {id(parameter): known[name] for name, parameter in self._placement.module.named_parameters()}


Slot = tuple[int, str]


def _cut(
    parameters: list[torch.Tensor], saved: dict[int, dict[str, Any]]
) -> tuple[dict[Slot, torch.Tensor], dict[Slot, torch.Tensor]]:
    """The parameters as which tensors of their state are cut, and these, whole."""
    cut: dict[Slot, torch.Tensor] = {}
    whole: dict[Slot, torch.Tensor] = {}
    for number, entries in saved.items():
        parameter = parameters[number]
        for key, value in entries.items():
            if not (isinstance(parameter, DTensor) and isinstance(value, torch.Tensor) and value.dim()):
                continue
            if value.shape != parameter.shape:
                raise InvalidInputError(
                    f"optimizer: expected {key} of {list(parameter.shape)} as its parameter, got {list(value.shape)}"
                )
            cut[number, key], whole[number, key] = parameter, value
    return cut, whole
