"""Sums over the parts of a global batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from modelyard.train.parallel.mesh import PIPELINE, TENSOR, part


class GridReduction:
    """Sums over the ranks of a grid.

    Attributes:
        rank: which part of a global batch this rank takes; those that share a replica's layers take the same.
        world: how many parts there are.
    """

    def __init__(self, grid: DeviceMesh) -> None:
        self._grid = grid
        self.rank, self.world = part(grid)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module: what it has of the model sums gradients by itself."""
        return module

    @contextlib.contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """Have a pass sum gradients over the ranks if it is the last of a step."""
        for cut in module.modules():
            if isinstance(cut, FSDPModule):
                cut.set_requires_gradient_sync(last, recurse=False)
        yield

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Return what returns the `sum`, which is waited for at once."""
        summed = self.sum(values)
        return lambda: summed

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of FP64 [n] over all parts, and over stages: one of these adds, the others have zeros.

        Those that share layers have the same; but all ranks take part, so that what any of them wishes all know.
        """
        summed = values.to(self._grid.device_type, copy=True)
        dist.all_reduce(summed)
        return summed.cpu() / self._grid[TENSOR].size()

    def agreed(self, names: list[str]) -> list[str]:
        """Return the names of that rank, the first one, that has some."""
        found: list[list[str]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(found, names)
        return next(filter(None, found), [])

    def said_by_first(self, said: bool) -> bool:
        """Return what rank 0 says."""
        flag = torch.tensor([said], dtype=torch.int32, device=self._grid.device_type)
        dist.broadcast(flag, src=0)
        return bool(flag)

    def norm(self, parameters: Iterable[torch.Tensor]) -> torch.Tensor:
        """Return the 2-norm of all gradients of all ranks, FP64 []: each element counts once, however many have it."""
        squares = torch.zeros(1, dtype=torch.float64)
        for parameter in parameters:
            if parameter.grad is not None:
                squares += self._square(parameter.grad)
        squares = squares.to(self._grid.device_type)
        dist.all_reduce(squares)
        return squares.sqrt()[0].cpu()

    def _square(self, gradient: torch.Tensor) -> float:
        """The sum of squares of what is here, divided by the number of ranks that have the same."""
        copies = self._grid.size() // self._grid[PIPELINE].size()
        local = gradient
        if isinstance(gradient, DTensor):
            local = gradient.to_local()
            mesh = gradient.device_mesh
            for axis, placed in enumerate(gradient.placements):
                copies //= 1 if placed.is_replicate() else mesh.size(axis)
        return float(local.detach().double().square().sum()) / copies
