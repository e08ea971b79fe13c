"""The agent: makes what runs here equal to what the leader has placed here. Level-triggered."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from modelyard import codec, keys
from modelyard.deployment import Instance, Placement
from modelyard.etcd import Etcd, Mirror
from modelyard.session import Session
from modelyard.tasks import stop_on_failure
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.instance import InstanceKeeper, RunnerSettings

log = logging.getLogger(__name__)


@dataclass
class Kept:
    """A keeper and the task it runs in."""

    keeper: InstanceKeeper
    task: asyncio.Task[None]


class Agent:
    """Starts and ends instances as placements come and go."""

    def __init__(self, etcd: Etcd, session: Session, cache: ArtifactCache, settings: RunnerSettings) -> None:
        self._session = session
        self._cache = cache
        self._settings = settings
        self._changed = asyncio.Event()
        self._kept: dict[str, Kept] = {}
        self._unloading: set[asyncio.Future[None]] = set()
        self.placements = Mirror(
            etcd, keys.placements(settings.worker), lambda data: codec.decode(Placement, data), self._changed.set
        )

    async def run(self) -> None:
        """Reconcile after every change, until cancelled."""
        await self.placements.synced.wait()
        while True:
            self._changed.clear()
            self._reconcile()
            await self._changed.wait()

    def _reconcile(self) -> None:
        wanted = dict(self.placements.items)
        for name, kept in list(self._kept.items()):
            if name not in wanted or not _same(wanted[name], kept.keeper.placement):
                self._unload(name)
        if self._unloading:
            return  # what comes waits for what goes: their memory is the same
        for name in wanted.keys() - self._kept.keys():
            log.info("placement", extra={"instance": name})
            keeper = InstanceKeeper(wanted[name], self._settings, self._cache, self._announce)
            task = asyncio.ensure_future(keeper.run())
            task.add_done_callback(stop_on_failure)
            self._kept[name] = Kept(keeper, task)

    def _unload(self, name: str) -> None:
        task = asyncio.ensure_future(self._end(name, self._kept.pop(name)))
        self._unloading.add(task)
        task.add_done_callback(stop_on_failure)
        task.add_done_callback(self._unloaded)

    def _unloaded(self, task: asyncio.Future[None]) -> None:
        self._unloading.discard(task)
        self._changed.set()

    async def _end(self, name: str, kept: Kept) -> None:
        placement = kept.keeper.placement
        kept.task.cancel()
        await asyncio.wait([kept.task])
        await kept.keeper.unload()
        await self._session.delete(keys.instance(self._settings.worker, placement.model, placement.version))
        log.info("unloaded", extra={"instance": name})

    async def _announce(self, instance: Instance) -> None:
        key = keys.instance(instance.worker, instance.model, instance.version)
        await self._session.put(key, codec.encode(instance))

    async def close(self) -> None:
        """Unload everything."""
        for name in list(self._kept):
            self._unload(name)
        if self._unloading:
            await asyncio.wait(self._unloading)


def _same(wanted: Placement, held: Placement) -> bool:
    return (wanted.manifest_digest, wanted.format) == (held.manifest_digest, held.format)
