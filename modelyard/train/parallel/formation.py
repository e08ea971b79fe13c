"""The process group of a formation whose ranks share a model. What is begun in it cannot be taken back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh

from modelyard.jobs.training import Parallelism
from modelyard.train.control.messages import Formation
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.rendezvous import Timeouts, store_of
from modelyard.train.parallel.mesh import mesh

_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


class ToldGroup(Group):
    """The members of a formation; it tells, at once and in any thread, when it is lost.

    All waiting that may be in vain is done in it: for the others to come, and for rank 0 to conclude. Steps are not.
    """

    def __init__(self, seat: Seat, timeouts: Timeouts | None, lost: Callable[[str], None]) -> None:
        super().__init__(seat, timeouts)
        self._tell = lost

    def lose(self, reason: str) -> None:
        """End all waiting, now and later, and tell."""
        super().lose(reason)
        self._tell(reason)


def join(seat: Seat, parallelism: Parallelism, device: str, interface: str) -> DeviceMesh:
    """Return the grid of a formation's ranks, all of which are there. It is torch's default group from now on.

    Args:
        seat: of this rank.
        parallelism: with as many replicas as the members make.
        device: of torch: "cpu" or "cuda:0" and so on.
        interface: of the network, by which the others reach this rank; empty: torch's choice.

    Raises:
        InvalidInputError: the members are no whole replicas.
        RuntimeError: another rank could not be reached (torch's).
    """
    kind = torch.device(device).type
    if interface:
        os.environ["GLOO_SOCKET_IFNAME"] = interface  # torch takes it from nowhere else
    formation: Formation = seat.formation
    store = PrefixStore("grid", store_of(formation, Timeouts()))
    dist.init_process_group(_BACKENDS[kind], store=store, rank=seat.rank, world_size=len(formation.members))
    return mesh(replace(parallelism, data=0), kind)


def of_group(error: BaseException | None) -> bool:
    """Whether an error is, or comes of, that another rank could not be reached: torch has no type of its own for it."""
    while error is not None:
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
