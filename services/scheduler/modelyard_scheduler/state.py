"""The scheduler's view of etcd: deployments, workers, placements and instances, mirrored."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Activity, Deployment, Eviction, Instance, Member, Placement, Worker
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion
from modelyard_scheduler.failures import Failures
from modelyard_scheduler.load import Load, need_of
from modelyard_scheduler.placement import Assignment, assignment_of


class State:
    """Mirrors that call `on_change` after every change."""

    def __init__(self, etcd: Etcd, on_change: Callable[[], None]) -> None:
        self.deployments = Mirror(etcd, keys.DEPLOYMENTS, lambda d: codec.decode(Deployment, d), on_change)
        self.workers = Mirror(etcd, keys.WORKERS, lambda d: codec.decode(Worker, d), on_change)
        self.placements = Mirror(etcd, keys.PLACEMENTS, lambda d: codec.decode(Placement, d), on_change)
        self.instances = Mirror(etcd, keys.INSTANCES, lambda d: codec.decode(Instance, d), on_change)
        self.activities = Mirror(etcd, keys.ACTIVITY, lambda d: codec.decode(Activity, d), on_change)
        self.evictions = Mirror(etcd, keys.EVICTIONS, lambda d: codec.decode(Eviction, d), on_change)
        self.registries = Mirror(etcd, keys.members("registry"), lambda d: codec.decode(Member, d), on_change)
        self.schedulers = Mirror(etcd, keys.members("scheduler"), lambda d: codec.decode(Member, d), on_change)
        self.failures = Failures()
        """What the leader has seen fail; empty where somebody else leads."""

        self._decisive = (
            self.deployments,
            self.workers,
            self.placements,
            self.instances,
            self.activities,
            self.evictions,
        )

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What must run in the background."""
        return [mirror.run() for mirror in (*self._decisive, self.registries, self.schedulers)]

    async def synced(self) -> None:
        """Wait until every mirror that decisions rest on has been filled once."""
        for mirror in self._decisive:
            await mirror.synced.wait()

    def assignment(self) -> Assignment:
        """Which workers each version is placed on."""
        return assignment_of(self.placements.items.values())

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
