"""A cluster of records in etcd: what a leader finds there, written by a test, and agents that are no processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import (
    Activity,
    Deployment,
    Eviction,
    Instance,
    InstanceOptions,
    InstanceState,
    Member,
    Placement,
    Worker,
)
from modelyard.etcd import Etcd, Mirror
from modelyard_scheduler.leader import Leader
from modelyard_scheduler.placement import Assignment, assignment_of
from modelyard_scheduler.state import State
from tests.waiting import eventually

GIB = 1 << 30


def deployment(
    model: str, replicas: int = 1, memory_bytes: int = GIB, digest: str = "d" * 64, version: str = "1", **said: Any
) -> Deployment:
    return Deployment(model, version, replicas, Resources(memory_bytes=memory_bytes), digest, "onnx", **said)


class Cluster:
    """What the leader finds in etcd, written by the test."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd

    async def deploy(self, *deployments: Deployment) -> None:
        for one in deployments:
            await self.etcd.put(keys.deployment(one.model, one.version), codec.encode(one))

    async def undeploy(self, model: str) -> None:
        await self.etcd.delete(keys.deployment(model, "1"))

    async def join(
        self, name: str, address: str = "127.0.0.1:1", memory_bytes: int = 64 * GIB, *, draining: bool = False
    ) -> None:
        worker = Worker(name, address, 8.0, memory_bytes, incarnation=name, draining=draining)
        await self.etcd.put(keys.worker(name), codec.encode(worker))

    async def leave(self, name: str) -> None:
        await self.etcd.delete(keys.worker(name))

    async def call(self, model: str, used_s: float | None = None) -> None:
        """As a front door: say that an on-demand deployment is called."""
        used = Activity(time.time() if used_s is None else used_s)
        await self.etcd.put(keys.activity(model, "1"), codec.encode(used))

    async def active(self) -> set[str]:
        """Of which models there is an activity key."""
        return {key.removeprefix(keys.ACTIVITY).partition("@")[0] for key in await self.etcd.keys(keys.ACTIVITY)}

    async def evicted(self) -> dict[str, str]:
        """Why which models were unloaded."""
        items = (await self.etcd.list(keys.EVICTIONS)).items
        return {k.removeprefix(keys.EVICTIONS): codec.decode(Eviction, kv.value).reason for k, kv in items.items()}

    async def deployed(self) -> dict[str, Deployment]:
        items = (await self.etcd.list(keys.DEPLOYMENTS)).items
        return {k.removeprefix(keys.DEPLOYMENTS): codec.decode(Deployment, kv.value) for k, kv in items.items()}

    async def changed(self, options: InstanceOptions) -> list[str]:
        """The workers that were told these options."""
        return sorted(p.worker for p in (await self.placements()).values() if p.options == options)

    async def placements(self) -> dict[str, Placement]:
        items = (await self.etcd.list(keys.PLACEMENTS)).items
        return {key: codec.decode(Placement, kv.value) for key, kv in items.items()}

    async def placed(self) -> dict[str, list[str]]:
        """Which models are on which workers."""
        found: Assignment = assignment_of((await self.placements()).values())
        return {version.model: sorted(workers) for version, workers in found.items()}

    async def becomes(self, expected: dict[str, list[str]]) -> None:
        async def so() -> bool:
            return await self.placed() == expected

        await eventually(so)


class Candidate:
    """A leader with a view of its own."""

    def __init__(self, etcd: Etcd, name: str, address: str = "127.0.0.1:1") -> None:
        self.changed = asyncio.Event()
        self.state = State(etcd, self.changed.set)
        self.leader = Leader(etcd, self.state, Member(name, address), self.changed)
        self.election = self.leader.election

    @contextlib.asynccontextmanager
    async def running(self, *, leading: bool = True) -> AsyncIterator[Candidate]:
        """Follow etcd, and lead if so asked, until the scope ends."""
        works = [asyncio.ensure_future(w) for w in self.state.works()]
        await self.state.synced()
        if leading:
            works.append(asyncio.ensure_future(self.leader.run()))
        try:
            yield self
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)


class Agents:
    """Agents of all workers: they load what is placed there, unless they are held, and unload what is withdrawn."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd
        self.held: set[str] = set()
        """Workers that load nothing for now."""

        self.answering: dict[str, list[int]] = {}
        """How many replicas of each model answered, after each change."""

        self._changed = asyncio.Event()
        self._placements = Mirror(etcd, keys.PLACEMENTS, lambda d: codec.decode(Placement, d), self._changed.set)
        self._said: dict[str, Instance] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agents]:
        """Follow the placements until the scope ends."""
        works = [asyncio.ensure_future(self._placements.run()), asyncio.ensure_future(self._run())]
        try:
            yield self
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    def release(self) -> None:
        """Let all load."""
        self.held.clear()
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            for name in sorted(self._said.keys() - self._placements.items.keys()):
                await self._unload(name)
            for name, placement in sorted(self._placements.items.items()):
                said = self._said.get(name)
                if (said is None or said.options != placement.options) and placement.worker not in self.held:
                    await self._load(name, placement)
            await self._changed.wait()

    async def _load(self, name: str, placement: Placement) -> None:
        facts: dict[str, Any] = {"options": placement.options, "memory_bytes": placement.resources.memory_bytes}
        ready = Instance(placement.model, placement.version, placement.worker, InstanceState.READY, **facts)
        self._said[name] = ready
        await self.etcd.put(keys.instance(ready.worker, ready.model, ready.version), codec.encode(ready))
        self._count(ready)

    async def _unload(self, name: str) -> None:
        gone = self._said.pop(name)
        await self.etcd.delete(keys.instance(gone.worker, gone.model, gone.version))
        self._count(gone)

    def _count(self, changed: Instance) -> None:
        mine = [i for i in self._said.values() if (i.model, i.version) == (changed.model, changed.version)]
        self.answering.setdefault(f"{changed.model}@{changed.version}", []).append(len(mine))
