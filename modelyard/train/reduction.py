"""Sums over the ranks of a group: what a step needs of the other ranks. A run on one process needs nobody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import nn


class GroupLost(Exception):  # noqa: N818 (no error: it is what happens when a member goes or comes)
    """The group is no more. Nothing of the step that was interrupted was applied here; it is done again by the next."""


class Reduction(Protocol):
    """Sums over the members of a group.

    Attributes:
        rank: of this process, from 0 on.
        world: how many there are.
    """

    rank: int
    world: int

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module whose last backward pass of a step leaves the gradients summed over all ranks."""
        ...

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Return a context manager for a pass, forward and backward, of a wrapped module; the last of a step sums."""
        ...

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to sum FP64 [n] over all ranks; what is returned waits for it, and returns it.

        All ranks begin in the same place of their step; what they do meanwhile needs not wait for each other.

        Raises:
            GroupLost: either of both: a member is gone, or has come.
        """
        ...

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of FP64 [n] over all ranks.

        Raises:
            GroupLost: a member is gone, or has come.
        """
        ...


class Alone:
    """The reduction of a run on one process."""

    rank = 0
    world = 1

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module: its gradients are the sums."""
        return module

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Do nothing."""
        del module, last
        return nullcontext()

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Return what returns the values: they are the sums."""
        return lambda: values

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values: they are the sums."""
        return values
