"""The routing table: which streams serve which version. Follows etcd, and keeps what it knows while etcd is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from modelyard import codec, keys
from modelyard.deployment import Deployment, Instance, InstanceState, Member
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion
from modelyard.tasks import stop_on_failure
from modelyard_scheduler.frontdoor.stream import ExecuteStream

log = logging.getLogger(__name__)


class RoutingTable:
    """Streams by version.

    An instance that is announced READY gets a stream. One whose key vanished keeps its stream as long as that lives
    (its worker may only have lost its lease); one that says UNLOADING, or whose deployment is gone, is drained.
    """

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._changed = asyncio.Event()
        self.deployments = Mirror(etcd, keys.DEPLOYMENTS, lambda d: codec.decode(Deployment, d), self._changed.set)
        self.instances = Mirror(etcd, keys.INSTANCES, lambda d: codec.decode(Instance, d), self._changed.set)
        self.registries = Mirror(etcd, keys.members("registry"), lambda d: codec.decode(Member, d), self._changed.set)
        self.schedulers = Mirror(etcd, keys.members("scheduler"), lambda d: codec.decode(Member, d), self._changed.set)
        self.built = asyncio.Event()
        self._streams: dict[str, ExecuteStream] = {}
        self._by_version: dict[ModelVersion, list[ExecuteStream]] = {}
        self._newest: dict[str, str] = {}
        self._drains: set[asyncio.Task[None]] = set()
        self._updated = asyncio.Event()

    async def run(self) -> None:
        """Rebuild after every change, until cancelled."""
        for mirror in (self.deployments, self.instances, self.registries, self.schedulers):
            await mirror.synced.wait()
        try:
            while True:
                self._changed.clear()
                self._rebuild()
                self.built.set()
                self._announce()
                await self._changed.wait()
        finally:
            await asyncio.gather(*(s.close() for s in self._streams.values()), *self._drains)

    async def wait_built(self) -> None:
        """Wait until the table has been filled once."""
        await self.built.wait()

    def resolve(self, model: str, version: str) -> ModelVersion | None:
        """The deployed version that a call means: the one it names, else the newest; None if it is not deployed."""
        if not version:
            version = self._newest.get(model, "")
        key = ModelVersion(model, version)
        return key if key in self._by_version else None

    async def is_deployed(self, version: ModelVersion) -> bool:
        """Whether it is deployed by now: asks etcd itself, which may know more than this table yet."""
        return await self._etcd.get(keys.deployment(version.model, version.version)) is not None

    def streams(self, version: ModelVersion) -> Sequence[ExecuteStream]:
        """The streams of a version, usable or not."""
        return self._by_version.get(version, [])

    def versions(self, model: str) -> list[str]:
        """The deployed versions of a model, in the order of their publication."""
        deployed = (d for d in self.deployments.items.values() if d.model == model)
        return [d.version for d in sorted(deployed, key=_age)]

    async def changed(self) -> None:
        """Wait until a stream becomes usable, or stops being so, or the streams are others."""
        await self._updated.wait()

    def _announce(self) -> None:
        self._updated.set()  # wakes all who wait now
        self._updated.clear()

    def _on_stream_change(self) -> None:
        self._announce()
        self._changed.set()

    def _rebuild(self) -> None:
        for name, instance in self.instances.items.items():
            if instance.state is InstanceState.READY and _version(instance) in self.deployments.items:
                self._open(name, instance)
        for name, stream in list(self._streams.items()):
            if self._is_over(name, stream):
                self._drain(name)
        deployed = sorted(self.deployments.items.values(), key=_age)
        self._by_version = {ModelVersion(d.model, d.version): [] for d in deployed}
        for stream in self._streams.values():
            self._by_version[stream.version].append(stream)
        self._newest = {d.model: d.version for d in deployed}

    def _is_over(self, name: str, stream: ExecuteStream) -> bool:
        instance = self.instances.items.get(name)
        state = instance.state if instance else None
        if str(stream.version) not in self.deployments.items or state is InstanceState.UNLOADING:
            return True
        return state is not InstanceState.READY and not stream.connected

    def _open(self, name: str, instance: Instance) -> None:
        stream = self._streams.get(name)
        if stream is not None:
            if stream.instance.endpoint == instance.endpoint:
                return
            self._drain(name)
        log.info("route", extra={"instance": name, "endpoint": instance.endpoint})
        self._streams[name] = ExecuteStream(instance, self._on_stream_change)

    def _drain(self, name: str) -> None:
        log.info("withdraw route", extra={"instance": name})
        task = asyncio.ensure_future(self._streams.pop(name).drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)
        task.add_done_callback(stop_on_failure)


def _version(instance: Instance) -> str:
    return f"{instance.model}@{instance.version}"


def _age(deployment: Deployment) -> tuple[float, str]:
    return deployment.version_time_s, deployment.version
