"""Gradients and sums over a group that can be lost: stock DDP, with a hook that sums its buckets.

torch may write into what it sums long after the group is lost. Buckets are this DDP's own, and go with it and the
group; gradients are copied out of them, and those of an interrupted step are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.distributed import GradBucket, ProcessGroup  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from modelyard.errors import InvalidInputError
from modelyard.train.elastic.ddp_group import DDPGroup
from modelyard.train.elastic.group import Group, first_line
from modelyard.train.reduction import GroupLost

_NAMED = 5


class ElasticReduction:
    """A Reduction over a group. Of an interrupted step the gradients are of no use: whoever did it drops them whole.

    Attributes:
        rank: of this process.
        world: how many there are.
    """

    def __init__(self, group: Group) -> None:
        self.rank, self.world = group.rank, group.world
        self._group = group
        self._wrapped: list[DistributedDataParallel] = []
        self._summed = False

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module whose last backward pass of a step leaves the gradients summed over all ranks."""
        wrapped = DistributedDataParallel(
            module,
            process_group=DDPGroup(self._group),
            init_sync=False,
            forward_sync_buffers=False,
            gradient_as_bucket_view=False,  # gradients are no part of what torch may still write into
        )
        # DDP compares a hook's annotations with types, which are texts here: so a function without any.
        wrapped.register_comm_hook(None, lambda _state, bucket: self._sum(bucket))
        self._wrapped.append(wrapped)
        return wrapped

    @contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """Surround a pass, forward and backward, of a wrapped module; the last of a step sums.

        Raises:
            GroupLost: a member is gone: before the pass, or during it.
            InvalidInputError: a parameter had no part in the loss, so that its gradient was not summed.
        """
        self._group.check()
        self._summed = False
        silent = module.no_sync() if not last and isinstance(module, DistributedDataParallel) else nullcontext()
        try:
            with silent:
                yield
        except RuntimeError as error:  # torch's way to hand on what happened in the hook or in its group
            if self._group.lost:
                raise GroupLost(first_line(error)) from error
            raise
        self._group.check()
        if last and not self._summed:
            raise InvalidInputError(f"expected all parameters to be in the loss, got one without {_without(module)}")

    def begin_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begin to sum FP64 [n] over all ranks; what is returned waits for it, and returns it.

        Raises:
            GroupLost: what is returned: a member is gone, or has come.
        """
        return self._group.begin_sum(values)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of FP64 [n] over all ranks.

        Raises:
            GroupLost: a member is gone, or has come.
        """
        return self._group.sum(values)

    def close(self) -> None:
        """Free what was wrapped: it must not be used again, whoever still has it. The modules remain as they are."""
        for wrapped in self._wrapped:
            # Its reducer, of which torch documents nothing, listens to the parameters' gradients until it is freed.
            wrapped.reducer = wrapped.logger = None  # type: ignore[assignment]
        self._wrapped.clear()

    def _sum(self, bucket: GradBucket) -> Future[torch.Tensor]:
        self._summed = self._summed or bucket.is_last()
        buffer = bucket.buffer()
        return self._group.all_reduce(buffer, result=buffer)


def preload() -> None:
    """Have torch import what it needs to wrap a module: for the first one that takes seconds, and others would wait."""
    alone = DistributedDataParallel(nn.Linear(1, 1), process_group=ProcessGroup(0, 1), init_sync=False)  # type: ignore[call-arg]
    alone.reducer = alone.logger = None  # type: ignore[assignment]


def _without(module: nn.Module) -> str:
    names = [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]
    names = [name.removeprefix("module.").removeprefix("module.") for name in names]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} others" if len(names) > _NAMED else "")
