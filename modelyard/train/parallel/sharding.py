"""Sharded data parallelism: FSDP2 along one axis, HSDP along two (Zhao et al., "PyTorch FSDP", 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from modelyard.train.parallel.mesh import DATA, SHARD

_CONTAINERS = (nn.Sequential, nn.ModuleList)


@runtime_checkable
class Sharded(Protocol):
    """A recipe that says which modules of its model are put together, and freed, one at a time."""

    def shard_units(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return modules that have no parameters in common."""
        ...


def shard(recipe: object, model: nn.Module, grid: DeviceMesh) -> None:
    """Cut a model's parameters along `shard`, and have gradients summed, not averaged, along `data` and `shard`.

    Units are what the recipe's `shard_units` returns; by default the elements of the outermost containers.
    """
    if grid[SHARD].size() == 1 and grid[DATA].size() == 1:
        return
    axes = grid[SHARD] if grid[DATA].size() == 1 else grid[DATA, SHARD]
    units = recipe.shard_units(model) if isinstance(recipe, Sharded) else _elements(model)
    for unit in [*units, model]:
        fully_shard(unit, mesh=axes)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # gloo cannot scale while it sums, and a sum is what is wanted.
            module.set_force_sum_reduction_for_comms(True)


def _elements(model: nn.Module) -> Iterator[nn.Module]:
    for child in model.children():
        if isinstance(model, _CONTAINERS) and any(True for _ in child.parameters()):
            yield child
        elif isinstance(child, _CONTAINERS):
            yield from _elements(child)
