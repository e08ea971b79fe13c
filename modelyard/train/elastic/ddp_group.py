"""What DDP takes for its process group: all that it sends by itself goes through a group that can be lost.

After its first backward pass DDP has all ranks take over the order of rank 0's buckets, and would wait for that in
torch's own code, where nobody can end the waiting. Subclasses of ProcessGroup are how torch's own tests replace groups;
this is not documented.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.futures import Future

from modelyard.train.elastic.group import Group


class DDPGroup(dist.ProcessGroup):
    """A group for DDP whose gradients are summed by a hook."""

    def __init__(self, group: Group) -> None:
        super().__init__(group.rank, group.world)  # type: ignore[call-arg]
        self._group = group

    def getBackendName(self) -> str:  # noqa: N802 (torch's)
        """The name that DDP logs."""
        return "modelyard"

    def broadcast(self, tensors: list[torch.Tensor], options: dist.BroadcastOptions) -> dist.Work:  # type: ignore[override]
        """Write a tensor of one rank into the others' before it returns.

        Raises:
            GroupLost: it was lost.
        """
        for tensor in tensors:
            self._group.broadcast(tensor, options.rootRank)
        return _Done(tensors)


class _Done(dist.Work):
    """A collective that has ended."""

    def __init__(self, result: list[torch.Tensor]) -> None:
        super().__init__()
        self._result = result

    def wait(self, timeout: object = None) -> bool:
        """It has ended."""
        del timeout
        return True

    def get_future(self) -> Future[list[torch.Tensor]]:
        """Its result."""
        future: Future[list[torch.Tensor]] = Future()
        future.set_result(self._result)
        return future
