"""Sums over a process group of torch as it is: torchrun's, for instance. Nobody comes, and when one goes it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from modelyard.train.reduction import GroupLost


class GroupReduction:
    """The reduction of a process group, over DDP.

    Attributes:
        rank: in the group.
        world: its size.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self._failure: Exception | None = None
        self.rank = dist.get_rank(group)
        self.world = dist.get_world_size(group)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module in DDP, which sums gradients while the backward pass is going on.

        Raises:
            GroupLost: the group fails.
        """
        with self._watched():
            # Buffers are the step's: it takes their means. The sums are made in copies (see `_sum`).
            wrapped = DistributedDataParallel(module, process_group=self._group, broadcast_buffers=False)
            wrapped.register_comm_hook(None, lambda state, bucket: self._sum(bucket))  # DDP looks at annotations
        return wrapped

    def accumulating(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Return a context manager for a pass; GroupLost is raised in it where the sum of gradients failed."""
        if not isinstance(module, DistributedDataParallel):
            raise TypeError(f"expected what wrap() returned, got {type(module).__name__}")
        return self._pass(module, last)

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to sum FP64 [n] over all ranks; what is returned waits for it, and returns it.

        Raises:
            GroupLost: either of both: the group fails.
        """
        summed = values.clone()
        with self._watched():
            work = dist.all_reduce(summed, group=self._group, async_op=True)

        def complete() -> torch.Tensor:
            with self._watched():
                work.wait()
            return summed

        return complete

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of FP64 [n] over all ranks.

        Raises:
            GroupLost: the group fails.
        """
        return self.begin_sum(values)()

    @contextmanager
    def _pass(self, module: DistributedDataParallel, last: bool) -> Iterator[None]:
        try:
            if last:
                yield
            else:
                with module.no_sync():
                    yield
        except Exception as error:
            if self._failure is not None:
                raise GroupLost(str(self._failure)) from error
            raise

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise GroupLost(str(error)) from error

    def _sum(self, bucket: Any) -> torch.futures.Future[torch.Tensor]:
        copy = bucket.buffer().clone()
        future = self._group.allreduce([copy]).get_future()
        return future.then(self._summed)

    def _summed(self, done: torch.futures.Future[list[torch.Tensor]]) -> torch.Tensor:
        try:
            return done.value()[0]
        except Exception as error:
            self._failure = error
            raise
