"""A rank's part of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from modelyard.errors import InvalidInputError
from modelyard.train.parallel.mesh import PIPELINE, TENSOR
from modelyard.train.parallel.sharding import shard
from modelyard.train.parallel.split import names, split
from modelyard.train.parallel.tensor import share_layers


@dataclass(frozen=True)
class Placement:
    """What this rank has of a model.

    Attributes:
        module: whose parameters the optimizer gets: the model, or a stage of it. Its parameters are DTensors where they
            are cut.
        grid: of the ranks.
        names: what the whole model calls the module's parameters and buffers, by the module's own names; what is tied
            has several names.
        order: all names of the whole model.
    """

    module: nn.Module
    grid: DeviceMesh
    names: dict[str, tuple[str, ...]]
    order: tuple[str, ...]

    @property
    def stages(self) -> int:
        """How many the model is cut into."""
        return self.grid[PIPELINE].size()

    @property
    def stage(self) -> int:
        """Which of them this is, from 0 on."""
        return self.grid.get_local_rank(PIPELINE)

    @property
    def is_last(self) -> bool:
        """Whether outputs, and so losses, are here."""
        return self.stage == self.stages - 1

    def known(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return weights that have the module's own names with those of the whole model."""
        found = {known: value for name, value in weights.items() for known in self.names[name]}
        return {known: found[known] for known in self.order if known in found}

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return those of the whole model's weights that the module has, with its own names. Raises KeyError."""
        return {name: weights[known[0]] for name, known in self.names.items()}


def place(recipe: object, model: nn.Module, grid: DeviceMesh) -> Placement:
    """Cut a model, which is the same on all ranks, along all axes; make the optimizer afterwards.

    Args:
        recipe: may have `pipeline_split`, `tensor_plan` and `shard_units`.
        model: changed in place; the whole of it is of no use afterwards.
        grid: of `mesh`.

    Raises:
        InvalidInputError: it cannot be cut like that.
    """
    stages, stage = grid[PIPELINE].size(), grid.get_local_rank(PIPELINE)
    parts = split(recipe, model, stages) if stages > 1 else [model]
    named, order = names(model, parts[stage]), tuple(model.state_dict())
    share_layers(recipe, model, parts, stage, grid[TENSOR])
    shard(recipe, parts[stage], grid)
    _check_tied(parts[stage], named)
    return Placement(parts[stage], grid, named, order)


def _check_tied(module: nn.Module, named: Mapping[str, tuple[str, ...]]) -> None:
    first: dict[tuple[str, ...], torch.Tensor] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if first.setdefault(named[name], tensor) is not tensor:
            raise InvalidInputError(
                f"expected weights that are tied to be cut as one, got {' and '.join(named[name])} apart: name both in "
                "one module of shard_units, or in none, and in no tensor_plan"
            )
