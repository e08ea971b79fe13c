"""The state of an optimizer of parts, as part of that of one optimizer of the whole model, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.placement import Placement

Groups = tuple[tuple[str, ...], ...]
"""The names of the whole model's parameters in the groups of an optimizer of it, in its order."""


def groups_of(model: nn.Module, optimizer: Optimizer) -> Groups:
    """Return how an optimizer of a whole model names its parameters."""
    named: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        named.setdefault(id(tensor), name)  # of what is tied the first name, as Placement.names has them
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

    def state_dict(self) -> dict[str, Any]:
        """Return this rank's part of the whole state_dict: of its own parameters the state, all groups."""
        named = self._named()
        state = {
            self._numbers[named[id(parameter)]]: dict(values) for parameter, values in self._optimizer.state.items()
        }
        saved = self._optimizer.state_dict()["param_groups"]
        numbers = [[self._numbers[name] for name in group] for group in self._groups]
        return {
            "state": dict(sorted(state.items())),
            "param_groups": [{**group, "params": own} for group, own in zip(saved, numbers, strict=True)],
        }

    def parameters(self) -> dict[int, torch.Tensor]:
        """Return this rank's parameters by the numbers that the whole state_dict has for them."""
        named = self._named()
        own = (parameter for group in self._optimizer.param_groups for parameter in group["params"])
        return {self._numbers[named[id(parameter)]]: parameter for parameter in own}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become what `state_dict` has returned, tensors cut as parameters are; what is of other ranks is passed over.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: it is that of something else (torch's).
        """
        state = {number: values["state"].get(known) for number, known in enumerate(self.parameters())}
        mine = self._optimizer.state_dict()["param_groups"]
        groups = [{**told, "params": has["params"]} for told, has in zip(values["param_groups"], mine, strict=True)]
        known = {number: entries for number, entries in state.items() if entries}
        self._optimizer.load_state_dict({"state": known, "param_groups": groups})

    def _named(self) -> dict[int, str]:
        """What the whole model calls this rank's parameters."""
        known = self._placement.names
        return {id(parameter): known[name][0] for name, parameter in self._placement.module.named_parameters()}
