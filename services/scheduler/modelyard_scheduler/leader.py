"""The leader: makes placements equal to what the assignment says. Level-triggered and fenced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from modelyard import codec, keys
from modelyard.deployment import Placement, Worker
from modelyard.errors import UnavailableError
from modelyard.etcd import Delete, Etcd, Put
from modelyard.names import ModelVersion
from modelyard.session import Election, Term
from modelyard_scheduler.lost import LostWorkers
from modelyard_scheduler.placement import assign
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

TICK_S = 1.0
PROBE_TIMEOUT_S = 1.0


class Leader:
    """Campaigns, and decides while it leads."""

    def __init__(self, etcd: Etcd, state: State, election: Election, changed: asyncio.Event) -> None:
        self._etcd = etcd
        self._state = state
        self._election = election
        self._changed = changed
        self._lost = LostWorkers()
        self._known: dict[str, Worker] = {}

    async def run(self) -> None:
        """Campaign and lead, for ever."""
        await self._state.synced()
        while True:
            term = await self._election.campaign()
            log.info("leading", extra={"epoch": term.epoch})
            await self._lead(term)
            log.warning("no longer leading", extra={"epoch": term.epoch})

    async def _lead(self, term: Term) -> None:
        deciding = asyncio.ensure_future(self._decide_until_deposed(term))
        holding = asyncio.ensure_future(term.hold())
        try:
            await asyncio.wait([deciding, holding], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (deciding, holding):
                task.cancel()
            await asyncio.wait([deciding, holding])
            with contextlib.suppress(UnavailableError):
                await term.resign()

    async def _decide_until_deposed(self, term: Term) -> None:
        while True:
            self._changed.clear()
            try:
                if not await self._decide(term):
                    return
            except UnavailableError as error:
                log.warning("no decision without etcd", extra={"reason": str(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TICK_S)

    async def _decide(self, term: Term) -> bool:
        """Write what differs; return whether we still lead."""
        state = self._state
        await self._look_for_lost_workers()
        lingering = self._lost.lingering(len(state.workers.items), time.monotonic())
        current = state.assignment()
        wanted = assign(state.deployments.items.values(), state.workers.items, current, lingering)
        for version in sorted(set(current) | set(wanted)):
            before, after = set(current.get(version, [])), set(wanted.get(version, []))
            for worker in sorted(before - after):
                if not await self._withdraw(term, version, worker):
                    return False
            for worker in sorted(after - before):
                if not await self._place(term, version, worker):
                    return False
        return True

    async def _place(self, term: Term, version: ModelVersion, worker: str) -> bool:
        deployment = self._state.deployments.items[str(version)]
        placement = Placement(
            model=version.model,
            version=version.version,
            worker=worker,
            manifest_digest=deployment.manifest_digest,
            format=deployment.format,
            resources=deployment.resources,
            epoch=term.epoch,
        )
        log.info("place", extra={"instance": str(version), "worker": worker, "epoch": term.epoch})
        key = keys.placement(worker, version.model, version.version)
        return await self._etcd.commit([term.fence], [Put(key, codec.encode(placement))])

    async def _withdraw(self, term: Term, version: ModelVersion, worker: str) -> bool:
        log.info("withdraw", extra={"instance": str(version), "worker": worker, "epoch": term.epoch})
        key = keys.placement(worker, version.model, version.version)
        return await self._etcd.commit([term.fence], [Delete(key)])

    async def _look_for_lost_workers(self) -> None:
        live = self._state.workers.items
        self._known.update(live)
        missing = {p.worker for p in self._state.placements.items.values()} - set(live)
        self._lost.observe(missing, time.monotonic())
        for worker_id in missing - self._lost.refused:
            if worker_id in self._known and await refuses(self._known[worker_id].address):
                log.warning("worker lost", extra={"worker": worker_id, "reason": "its connections are refused"})
                self._lost.prove(worker_id)


async def refuses(address: str) -> bool:
    """Whether connections to host:port are refused or reset: nobody is there. Silence proves nothing."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), PROBE_TIMEOUT_S)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except (TimeoutError, OSError):
        return False
    writer.close()
    return False
