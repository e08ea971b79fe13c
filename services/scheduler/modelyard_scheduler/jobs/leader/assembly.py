"""What the leader does with jobs, put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from modelyard.etcd import Etcd
from modelyard.queue import TaskQueue
from modelyard.rpc.registry import RegistrySource
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.storing import Storing
from modelyard_scheduler.jobs.leader.context import Backends
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.supervision import Services, Supervision
from modelyard_scheduler.jobs.planner.process import Planner
from modelyard_scheduler.jobs.records import Records
from modelyard_scheduler.peers import find_version, hold_artifact, set_alias
from modelyard_scheduler.state import State


class Basis(NamedTuple):
    """What jobs rest on; `registries`: that are live now."""

    queue: TaskQueue
    records: Records
    etcd: Etcd
    registries: Replicas


@contextlib.asynccontextmanager
async def supervising(
    replica: str, basis: Basis, state: State, allowed: Sequence[str], environ: Mapping[str, str]
) -> AsyncIterator[tuple[Supervision, Figures]]:
    """What a leader runs for each of its terms, and what it counts; end the scope when nobody leads here any more.

    Args:
        replica: its name.
        basis: what jobs rest on.
        state: of the cluster.
        allowed: prefixes of URLs that jobs may read datasets from.
        environ: of the processes that read them.
    """
    addresses, figures = basis.registries.addresses, Figures()
    async with contextlib.AsyncExitStack() as stack:
        store, source = Storing(addresses), RegistrySource(addresses)
        planner = Planner(addresses, allowed, environ)
        for close in (store.close, source.close, planner.aclose):
            stack.push_async_callback(close)
        backends = Backends(basis.queue, basis.records, basis.etcd, store, source)
        asked = basis.registries
        services = Services(
            state, planner, partial(find_version, asked), partial(hold_artifact, asked), partial(set_alias, asked)
        )
        yield Supervision(replica, backends, services, figures), figures
