"""How the members of a formation meet: each says in the store that it is there; when all are, they connect.

Of what torch has not documented this uses the options of ProcessGroupGloo, which say by which interface it is reached,
and `_register_backend`: the documented groups are all made of the default one, which cannot be replaced while a
collective is blocked in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from modelyard.train.control.messages import Formation
from modelyard.train.reduction import GroupLost

LOOK_S = 0.2
"""How often it is looked, while others are waited for, whether the group is lost."""


@dataclass(frozen=True)
class Timeouts:
    """In seconds.

    Attributes:
        store: to reach the store.
        connect: until all are connected, from when all are there.
        collective: how far a rank may be behind another in a collective. Membership is told by the control process;
            this only ends what nobody waits for any more.
    """

    store: float = 10.0
    connect: float = 30.0
    collective: float = 1800.0


def process_group(formation: Formation, rank: int, timeouts: Timeouts, lost: Callable[[], bool]) -> dist.ProcessGroup:
    """Return the connected group of a formation; blocks until all members are there.

    Raises:
        GroupLost: `lost` said so.
        RuntimeError: the store or a member could not be reached (torch's).
    """
    store = store_of(formation, timeouts)
    _meet(store, rank, len(formation.members), lost)
    backend = _gloo(store, formation, rank, timeouts)
    group = dist.ProcessGroup(store, rank, len(formation.members))
    group._register_backend(torch.device("cpu"), dist.ProcessGroup.BackendType.GLOO, backend)
    return group


def store_of(formation: Formation, timeouts: Timeouts) -> Store:
    """Return the store of a formation: what is written there is in nobody else's way.

    Raises:
        RuntimeError: it could not be reached (torch's).
    """
    host, _, port = formation.store.rpartition(":")
    patience = timedelta(seconds=timeouts.store)
    client = TCPStore(host.strip("[]"), int(port), is_master=False, wait_for_workers=False, timeout=patience)
    return PrefixStore(f"formation/{formation.number}", client)


def _meet(store: Store, rank: int, world: int, lost: Callable[[], bool]) -> None:
    """Return when all are there: a member may come late, from a long step."""
    store.set(f"here/{rank}", "")
    everybody = [f"here/{other}" for other in range(world)]
    while not lost():
        try:
            store.wait(everybody, timedelta(seconds=LOOK_S))
        except dist.DistStoreError:
            continue
        return
    raise GroupLost("it was lost before all members were there")


def _gloo(store: Store, formation: Formation, rank: int, timeouts: Timeouts) -> dist.ProcessGroupGloo:
    options = dist.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=formation.addresses[rank])]
    options._timeout = timedelta(seconds=timeouts.connect)
    backend = dist.ProcessGroupGloo(store, rank, len(formation.members), options)
    backend._set_default_timeout(timedelta(seconds=timeouts.collective))
    return backend
