"""The agent: makes what runs here equal to what the leader has placed here. Level-triggered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Instance, Placement
from modelyard.etcd import Etcd, Mirror
from modelyard.metrics import Journal
from modelyard.reservation import Machine, Reserved, need_of
from modelyard.session import Session
from modelyard.tasks import stop_on_failure, unless
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.instance import InstanceKeeper, Jobs
from modelyard_worker.metrics import InstanceLife
from modelyard_worker.runners import Runners, Seat
from modelyard_worker.slot import Announce, Slot, same
from modelyard_worker.training.seats import FORMATS, Gangs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """The worker that an agent is of: its name, and what it announces that it can hold."""

    worker: str
    capacity: Machine


class Agent:
    """Loads, changes and unloads instances as placements come, change and go."""

    def __init__(
        self,
        host: Host,
        etcd: Etcd,
        session: Session,
        cache: ArtifactCache,
        runners: Runners,
        journal: Journal | None = None,
    ) -> None:
        """`journal`: where it is counted what becomes of instances."""
        self._host = host
        self._journal = journal or Journal()
        self._session = session
        self._cache = cache
        self._runners = runners
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._slots: dict[str, Slot] = {}
        self._moving: set[str] = set()
        self._ending: set[asyncio.Future[None]] = set()
        self.admit: Callable[[Instance, Seat], Jobs] | None = None
        """Has tasks of jobs executed by instances that are READY; None: there are none."""
        self.gangs: Gangs | None = None
        """Where processes of training jobs are; None: there are none."""
        self.idle = asyncio.Event()
        """Set while nothing is placed here and nothing is left here."""
        self.placements = Mirror(
            etcd, keys.placements(host.worker), lambda data: codec.decode(Placement, data), self._changed.set
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
        for name in self._slots.keys() - self._moving:
            if name not in wanted:
                self._move(name, self._end(name))
            elif not same(wanted[name], self._slots[name].placement):
                log.info("placement changed", extra={"instance": name})
                self._move(name, self._slots[name].change(wanted[name]))
        if self._ending:
            return  # what comes waits for what goes: their memory is the same
        for name in wanted.keys() - self._slots.keys():
            log.info("placement", extra={"instance": name})
            self._slots[name] = Slot(wanted[name], self)
        self.idle.set() if not self._slots else self.idle.clear()

    def _move(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        async def move() -> None:
            try:
                await work
            finally:
                self._moving.discard(name)

        self._moving.add(name)
        self.spawn(move())

    async def _end(self, name: str) -> None:
        slot = self._slots[name]
        try:
            await slot.end()
            await self._session.delete(keys.instance(self._host.worker, slot.placement.model, slot.placement.version))
        finally:
            del self._slots[name]
        await self._cache.trim()
        log.info("unloaded", extra={"instance": name})

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what ends an instance; until it is done nothing new is loaded, for their memory is the same."""
        task = asyncio.ensure_future(work)
        self._ending.add(task)
        task.add_done_callback(stop_on_failure)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._ending.discard(task)
        self._changed.set()

    def make(self, placement: Placement, announce: Announce) -> InstanceKeeper[Any]:
        """Return a keeper, which does not run yet."""
        life = InstanceLife(self._journal)

        async def say(instance: Instance) -> None:
            life.observe(instance)
            await announce(instance)

        if self.gangs and placement.format in FORMATS:
            return InstanceKeeper(placement, self._cache, self.gangs.seat, say)
        return InstanceKeeper(placement, self._cache, self._runners.seat, say, self.admit)

    async def publish(self, instance: Instance) -> None:
        """Announce an instance; with etcd away it is announced as soon as etcd is back."""
        key = keys.instance(instance.worker, instance.model, instance.version)
        await self._session.put(key, codec.encode(instance))

    async def published(self) -> None:
        """Return when all that was announced is in etcd, or when this agent ends."""
        await unless(self._closing, self._settled())

    async def _settled(self) -> None:
        await self._session.settled.wait()

    async def has_room(self, placement: Placement) -> bool:
        """Whether one more copy fits beside all that is here, once what is on its way out is gone; wait for that."""
        while True:
            kept = [kept for slot in self._slots.values() for kept in slot.kept]
            if self._fits(placement, (k.placement for k in kept)):
                return True
            leaving = [k.gone for k in kept if k.leaving]
            if not leaving or not self._fits(placement, (k.placement for k in kept if not k.leaving)):
                return False
            await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)

    def _fits(self, placement: Placement, held: Iterable[Placement]) -> bool:
        """Whether a copy fits beside what is held, and what is placed here and waits to be loaded."""
        reserved = Reserved()
        for one in (*held, *(p for name, p in self.placements.items.items() if name not in self._slots)):
            reserved.add(need_of(one))
        return reserved.leaves_room(need_of(placement), self._host.capacity)

    def runners_of(self, instance: str) -> list[str]:
        """The names of the runners that an instance ("model@version") is or was in."""
        placement = self.placements.items.get(instance)
        shared = placement.options.runner if placement else ""
        return [shared, instance] if shared else [instance]

    def runners_in_use(self) -> set[str]:
        """The names of all runners that something is placed in."""
        return {runner for instance in self.placements.items for runner in self.runners_of(instance)}

    async def close(self) -> None:
        """Unload everything. Call it when `run` has ended."""
        self._closing.set()
        while self._slots or self._ending:
            for name in self._slots.keys() - self._moving:
                self._move(name, self._end(name))
            await asyncio.wait(self._ending, return_when=asyncio.FIRST_COMPLETED)
