"""The scheduler's view of etcd: deployments, workers, placements and instances, mirrored."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Activity, Deployment, Eviction, Instance, Member, Placement, Worker
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion
from modelyard.reservation import need_of
from modelyard_scheduler.failures import Failures
from modelyard_scheduler.jobs.demand import merged
from modelyard_scheduler.load import Load, selected
from modelyard_scheduler.placement import Assignment, assignment_of
from modelyard_scheduler.rollout import ready_replicas

PAUSE_S, LOOK_S = 0.1, 1.0
"""What fails is looked at after every change, but not again within the one, and when there is none after the other."""


class State:
    """Mirrors that call `on_change` after every change."""

    def __init__(self, etcd: Etcd, on_change: Callable[[], None]) -> None:
        self.deployments = Mirror(etcd, keys.DEPLOYMENTS, lambda d: codec.decode(Deployment, d), on_change)
        self.workers = Mirror(etcd, keys.WORKERS, lambda d: codec.decode(Worker, d), on_change)
        self.placements = Mirror(etcd, keys.PLACEMENTS, lambda d: codec.decode(Placement, d), on_change)
        self.instances = Mirror(etcd, keys.INSTANCES, lambda d: codec.decode(Instance, d), self._note_instances)
        self.activities = Mirror(etcd, keys.ACTIVITY, lambda d: codec.decode(Activity, d), on_change)
        self.evictions = Mirror(etcd, keys.EVICTIONS, lambda d: codec.decode(Eviction, d), on_change)
        self.wishes = Mirror(etcd, keys.JOBS, lambda d: codec.decode(Deployment, d), on_change)
        """What jobs want loaded, by "model@version/job"."""

        self.registries = Mirror(etcd, keys.members("registry"), lambda d: codec.decode(Member, d), on_change)
        self.schedulers = Mirror(etcd, keys.members("scheduler"), lambda d: codec.decode(Member, d), on_change)
        self.failures = Failures()
        """What was seen to fail, whoever leads."""

        self._on_change = on_change
        self._instances_changed = asyncio.Event()
        self._decisive = (
            self.deployments,
            self.workers,
            self.placements,
            self.instances,
            self.activities,
            self.evictions,
            self.wishes,
        )

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What must run in the background."""
        mirrors = [mirror.run() for mirror in (*self._decisive, self.registries, self.schedulers)]
        return [*mirrors, self._watch_failures()]

    async def synced(self) -> None:
        """Wait until every mirror that decisions rest on has been filled once."""
        for mirror in self._decisive:
            await mirror.synced.wait()

    def _note_instances(self) -> None:
        self._instances_changed.set()
        self._on_change()

    async def _watch_failures(self) -> None:
        """Every replica does this: so each can say what is avoided, and the next leader knows it."""
        await self.synced()
        while True:
            self._instances_changed.clear()
            self.note_failures()
            await asyncio.sleep(PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._instances_changed.wait()

    def note_failures(self) -> None:
        """Look at what fails now."""
        loaded = {*self.deployed(), *self.internal()}
        self.failures.observe(self.instances.items.values(), loaded, time.monotonic())

    def deployed(self) -> dict[ModelVersion, Deployment]:
        """What users have deployed."""
        return {ModelVersion(d.model, d.version): d for d in self.deployments.items.values()}

    def internal(self) -> dict[ModelVersion, Deployment]:
        """The internal deployments: what jobs want loaded."""
        return merged(self.deployed(), self.wishes.items.values()) if self.wishes.items else {}

    def assignment(self) -> Assignment:
        """Which workers each version is placed on."""
        return assignment_of(self.placements.items.values())

    def placed(self, version: ModelVersion, *, internal: bool = False) -> list[str]:
        """The workers that a version is placed on for users, or for jobs."""
        mine = (p for p in self.placements.items.values() if (p.model, p.version) == (version.model, version.version))
        return sorted(p.worker for p in mine if p.internal is internal)

    def wishes_of(self, version: ModelVersion) -> dict[str, Deployment]:
        """What jobs want loaded of a version, by job."""
        prefix = f"{version}/"
        return {n.removeprefix(prefix): d for n, d in sorted(self.wishes.items.items()) if n.startswith(prefix)}

    def load(self) -> Load:
        """What is reserved on the live workers."""
        load = Load(self.workers.items)
        for placement in self.placements.items.values():
            if placement.worker in self.workers.items:
                load.add(placement.worker, need_of(placement))
        return load

    def instances_of(self, version: ModelVersion) -> list[Instance]:
        """The loaded copies of a version, by worker."""
        found = [i for i in self.instances.items.values() if (i.model, i.version) == (version.model, version.version)]
        return sorted(found, key=lambda i: i.worker)

    def ready_replicas(self, deployment: Deployment, instances: Iterable[Instance]) -> int:
        """How many of its instances, but for those of jobs, answer as the deployment wants them and where it wants."""
        mine = (i for i in instances if self._may_be_on(deployment, i.worker) and not self.is_internal(i))
        return ready_replicas(deployment, mine)

    def is_internal(self, instance: Instance) -> bool:
        """Whether an instance is there for jobs."""
        placement = self.placements.items.get(f"{instance.worker}/{instance.model}@{instance.version}")
        return placement is not None and placement.internal

    def _may_be_on(self, deployment: Deployment, worker_id: str) -> bool:
        worker = self.workers.items.get(worker_id)
        return worker is None or selected(deployment.on, worker)

    def instances_by_version(self) -> Mapping[ModelVersion, list[Instance]]:
        """The loaded copies of every version that has some, by worker."""
        found: dict[ModelVersion, list[Instance]] = {}
        for instance in sorted(self.instances.items.values(), key=lambda i: i.worker):
            found.setdefault(ModelVersion(instance.model, instance.version), []).append(instance)
        return found

    def placed_by_worker(self) -> Mapping[str, list[str]]:
        """Which versions, as model@version, are placed on each worker that has some."""
        found: dict[str, list[str]] = {}
        for placement in self.placements.items.values():
            found.setdefault(placement.worker, []).append(f"{placement.model}@{placement.version}")
        return found
