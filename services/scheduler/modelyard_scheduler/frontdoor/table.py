"""The routing table: which streams serve which version. Follows etcd, and keeps what it knows while etcd is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard import codec, keys
from modelyard.deployment import Deployment, Instance, InstanceState, Member
from modelyard.etcd import Etcd, Mirror
from modelyard.names import ModelVersion
from modelyard.tasks import stop_on_failure
from modelyard_scheduler.frontdoor.splitting import least_bytes
from modelyard_scheduler.frontdoor.stream import ExecuteStream

log = logging.getLogger(__name__)

LATELY_S = 60.0
"""As long as runners remember a sequence that nobody continues."""


@dataclass(frozen=True)
class Route:
    """How calls of one deployed version go.

    Attributes:
        streams: to its instances, usable or not.
        least_split_bytes: a request that is shorter is not split over the instances; None: none is.
    """

    version: ModelVersion
    deployment: Deployment
    streams: list[ExecuteStream]
    least_split_bytes: int | None

    @property
    def connected(self) -> bool:
        """Whether an instance has accepted a stream."""
        return any(s.connected for s in self.streams)


class RoutingTable:
    """Streams by version.

    An instance that is announced READY gets a stream. One whose key vanished keeps its stream as long as that lives
    (its worker may only have lost its lease); one that says UNLOADING, or whose deployment is gone, is drained. One
    that is announced at another address keeps its old stream until the new one is connected, or the old one breaks.
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
        self._replacements: dict[str, ExecuteStream] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._drains: set[asyncio.Task[None]] = set()
        self._withdrawn_s: dict[ModelVersion, float] = {}
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
            streams = (*self._streams.values(), *self._replacements.values())
            await asyncio.gather(*(s.close() for s in streams), *self._drains)

    async def wait_built(self) -> None:
        """Wait until the table has been filled once."""
        await self.built.wait()

    def route(self, model: str, version: str = "") -> Route | None:
        """How calls go that name a version, or none: then to the newest; None if it is not deployed.

        The newest is the newest of those with an instance that is connected, if there are such.
        """
        return self._routes.get((model, version))

    async def is_deployed(self, version: ModelVersion) -> bool:
        """Whether it is deployed by now: asks etcd itself, which may know more than this table yet."""
        return await self._etcd.get(keys.deployment(version.model, version.version)) is not None

    def streams(self, version: ModelVersion) -> Sequence[ExecuteStream]:
        """The streams of a version, usable or not."""
        route = self._routes.get((version.model, version.version))
        return route.streams if route else ()

    def failure(self, version: ModelVersion) -> str:
        """Why no instance of a version could be loaded; empty if one was, or is being loaded."""
        found = [i for i in self.instances.items.values() if (i.model, i.version) == (version.model, version.version)]
        failed = [f"{i.worker}: {i.reason}" for i in found if i.state is InstanceState.FAILED]
        return "; ".join(failed) if len(failed) == len(found) else ""

    def versions(self, model: str) -> list[str]:
        """The deployed versions of a model, in the order of their publication."""
        deployed = (d for d in self.deployments.items.values() if d.model == model)
        return [d.version for d in sorted(deployed, key=_age)]

    def withdrawn_lately(self, version: ModelVersion) -> bool:
        """Whether an instance of a version went within the last LATELY_S: with it went the sequences on it."""
        return time.monotonic() - self._withdrawn_s.get(version, -LATELY_S) < LATELY_S

    def busy_on_demand(self) -> list[ModelVersion]:
        """The on-demand versions that have calls outstanding."""
        demanded = (r for (_, version), r in self._routes.items() if version and r.deployment.on_demand)
        return [r.version for r in demanded if any(s.outstanding for s in r.streams)]

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
        for name in list(self._streams):
            if name in self._replacements:
                self._replace(name)
            if self._is_over(name, self._streams[name]):
                self._drain(self._streams.pop(name))
        self._routes = self._connect()
        self._withdrawn_s = {v: s for v, s in self._withdrawn_s.items() if (v.model, v.version) in self._routes}

    def _connect(self) -> dict[tuple[str, str], Route]:
        streams: dict[str, list[ExecuteStream]] = {}
        for stream in self._streams.values():
            streams.setdefault(str(stream.version), []).append(stream)
        routes: dict[tuple[str, str], Route] = {}
        for deployment in sorted(self.deployments.items.values(), key=_age):
            model, version = deployment.model, deployment.version
            route = _route(deployment, streams.get(f"{model}@{version}", []))
            routes[model, version] = route
            if route.connected or not ((model, "") in routes and routes[model, ""].connected):
                routes[model, ""] = route
        return routes

    def _is_over(self, name: str, stream: ExecuteStream) -> bool:
        instance = self.instances.items.get(name)
        state = instance.state if instance else None
        if str(stream.version) not in self.deployments.items or state is InstanceState.UNLOADING:
            return True
        return state is not InstanceState.READY and not stream.connected

    def _open(self, name: str, instance: Instance) -> None:
        current, replacement = self._streams.get(name), self._replacements.get(name)
        newest = replacement or current
        if newest is not None and newest.instance.endpoint == instance.endpoint:
            return
        if replacement is not None:
            self._drain(self._replacements.pop(name))
        if current is not None and current.instance.endpoint == instance.endpoint:
            return
        log.info("route", extra={"instance": name, "endpoint": instance.endpoint})
        opened = self._streams if current is None else self._replacements
        opened[name] = ExecuteStream(instance, self._on_stream_change)

    def _replace(self, name: str) -> None:
        """Put the new stream of an instance in the place of the old, once it is connected or the old one is not."""
        new, old = self._replacements[name], self._streams[name]
        if self._is_over(name, new):
            self._drain(self._replacements.pop(name))
        elif new.connected or not old.connected:
            self._streams[name] = self._replacements.pop(name)
            self._drain(old)

    def _drain(self, stream: ExecuteStream) -> None:
        facts = {"instance": f"{stream.instance.worker}/{stream.version}", "endpoint": stream.instance.endpoint}
        log.info("withdraw route", extra=facts)
        self._withdrawn_s[stream.version] = time.monotonic()
        task = asyncio.ensure_future(stream.drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)
        task.add_done_callback(stop_on_failure)


def _route(deployment: Deployment, streams: list[ExecuteStream]) -> Route:
    rows = deployment.options.max_batch_size
    least = least_bytes(streams[0].instance.signature, rows) if rows and len(streams) > 1 else None
    return Route(ModelVersion(deployment.model, deployment.version), deployment, streams, least)


def _version(instance: Instance) -> str:
    return f"{instance.model}@{instance.version}"


def _age(deployment: Deployment) -> tuple[float, str]:
    return deployment.version_time_s, deployment.version
