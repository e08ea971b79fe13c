"""Reductions of one process that are interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from modelyard.train.reduction import Alone, GroupLost


class Interrupted(Alone):
    """Loses its group at the `at`-th of its passes and sums, from 0 on."""

    def __init__(self, at: int) -> None:
        self.left = at

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        del module, last
        return self._pass()

    @contextmanager
    def _pass(self) -> Iterator[None]:
        yield
        self._count()

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        return lambda: self.sum(values)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        self._count()
        return values

    def _count(self) -> None:
        if self.left == 0:
            raise GroupLost("interrupted by the test")
        self.left -= 1
