"""The routing table: which streams serve which version. Follows etcd, and keeps what it knows while etcd is away."""

from __future__ import annotations

import asyncio
import logging

from modelyard import codec, keys
from modelyard.deployment import Deployment, Instance, InstanceState, Member
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.stream import ExecuteStream

log = logging.getLogger(__name__)


class RoutingTable:
    """Streams by version.

    An instance that is announced READY gets a stream. One whose key vanished keeps its stream as long as that lives
    (its worker may only have lost its lease); one that says UNLOADING, or whose deployment is gone, is drained.
    """

    def __init__(self, etcd: Etcd) -> None:
        self._changed = asyncio.Event()
        self.deployments = Mirror(etcd, keys.DEPLOYMENTS, lambda d: codec.decode(Deployment, d), self._changed.set)
        self.instances = Mirror(etcd, keys.INSTANCES, lambda d: codec.decode(Instance, d), self._changed.set)
        self.registries = Mirror(etcd, keys.members("registry"), lambda d: codec.decode(Member, d), self._changed.set)
        self.schedulers = Mirror(etcd, keys.members("scheduler"), lambda d: codec.decode(Member, d), self._changed.set)
        self._streams: dict[str, ExecuteStream] = {}
        self._by_version: dict[ModelVersion, list[ExecuteStream]] = {}
        self._newest: dict[str, str] = {}
        self._drains: set[asyncio.Task[None]] = set()
        self._updated = asyncio.Condition()

    async def run(self) -> None:
        """Rebuild after every change, until cancelled."""
        await self.deployments.synced.wait()
        await self.instances.synced.wait()
        try:
            while True:
                self._changed.clear()
                self._rebuild()
                async with self._updated:
                    self._updated.notify_all()
                await self._changed.wait()
        finally:
            await asyncio.gather(*(s.close() for s in self._streams.values()))

    def resolve(self, model: str, version: str) -> ModelVersion | None:
        """The deployed version that a call means: the one it names, else the newest; None if it is not deployed."""
        if not version:
            version = self._newest.get(model, "")
        key = ModelVersion(model, version)
        return key if key in self._by_version else None

    def streams(self, version: ModelVersion) -> list[ExecuteStream]:
        """The streams of a version, usable or not."""
        return self._by_version.get(version, [])

    def instance(self, version: ModelVersion) -> Instance | None:
        """An instance of the version that has been READY, for what it says of the model."""
        served = (i for i in self.instances.items.values() if (i.model, i.version) == (version.model, version.version))
        return next((i for i in served if i.state is InstanceState.READY), None)

    def versions(self, model: str) -> list[str]:
        """The deployed versions of a model."""
        return sorted(v.version for v in self._by_version if v.model == model)

    async def changed(self) -> None:
        """Wait for the next change."""
        async with self._updated:
            await self._updated.wait()

    def _rebuild(self) -> None:
        deployed = self.deployments.items
        for name, instance in self.instances.items.items():
            stream = self._streams.get(name)
            if instance.state is InstanceState.READY and f"{instance.model}@{instance.version}" in deployed:
                self._open(name, instance, stream)
            elif stream is not None and instance.state is InstanceState.UNLOADING:
                self._drain(name)
        for name, stream in list(self._streams.items()):
            vanished = name not in self.instances.items and not stream.connected.is_set()
            if vanished or stream.instance not in deployed:
                self._drain(name)
        self._by_version = {ModelVersion(d.model, d.version): [] for d in deployed.values()}
        for stream in self._streams.values():
            model, _, version = stream.instance.rpartition("@")
            self._by_version[ModelVersion(model, version)].append(stream)
        self._newest = {}
        for deployment in sorted(deployed.values(), key=lambda d: d.version_time_s):
            self._newest[deployment.model] = deployment.version

    def _open(self, name: str, instance: Instance, stream: ExecuteStream | None) -> None:
        if stream is not None and stream.endpoint == instance.endpoint:
            return
        if stream is not None:
            self._drain(name)
        log.info("route", extra={"instance": name, "endpoint": instance.endpoint})
        self._streams[name] = ExecuteStream(f"{instance.model}@{instance.version}", instance.worker, instance.endpoint)

    def _drain(self, name: str) -> None:
        stream = self._streams.pop(name)
        task = asyncio.ensure_future(stream.drain() if stream.connected.is_set() else stream.close())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)
