"""The leader: makes placements equal to what the assignment says. Level-triggered and fenced."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterable

from modelyard import codec, keys
from modelyard.deployment import Deployment, Member, Placement, Worker
from modelyard.errors import PASSING
from modelyard.etcd import Delete, Etcd, Put
from modelyard.session import Election, Term
from modelyard_scheduler.lost import LostWorkers
from modelyard_scheduler.placement import assign, assignment_of
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

TICK_S = 1.0
PROBE_TIMEOUT_S = 1.0


class Leader:
    """Campaigns, and decides while it leads."""

    def __init__(self, etcd: Etcd, state: State, member: Member, changed: asyncio.Event) -> None:
        """`member`: this replica; `changed` is set after every change of the state."""
        self._etcd = etcd
        self._state = state
        self._member = member
        self._election = Election(etcd, keys.LEADER, codec.encode(member))
        self._changed = changed
        self._lost = LostWorkers()
        self._known: dict[str, Worker] = {}

    async def run(self) -> None:
        """Campaign and lead, for ever."""
        await self._state.synced()
        await self._bury_predecessor()
        while True:
            term = await self._election.campaign()
            log.info("leading", extra={"epoch": term.epoch})
            await self._lead(term)
            log.warning("no longer leading", extra={"epoch": term.epoch})

    async def _bury_predecessor(self) -> None:
        """End the leadership that a dead process of this very replica left behind, which would else run out slowly."""
        try:
            held = await self._etcd.get(keys.LEADER)
            leader = codec.decode(Member, held.value) if held else None
            if held and leader and leader.id == self._member.id and await self._is_dead(leader):
                log.info("ending the leadership of a dead predecessor", extra={"address": leader.address})
                await self._etcd.revoke(held.lease_id)
        except PASSING as error:
            log.warning("a predecessor's leadership is left to run out", extra={"reason": str(error)})

    async def _is_dead(self, leader: Member) -> bool:
        """Whether nobody is where it listened; where we listen ourselves it cannot be."""
        return leader.address == self._member.address or await refuses(leader.address)

    async def _lead(self, term: Term) -> None:
        self._lost = LostWorkers()  # what an earlier term saw is long past
        works = [asyncio.ensure_future(self._decide_until_deposed(term)), asyncio.ensure_future(term.hold())]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in done:
                work.result()  # raises what nobody foresaw
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
            with contextlib.suppress(*PASSING):
                await term.resign()

    async def _decide_until_deposed(self, term: Term) -> None:
        while True:
            self._changed.clear()
            try:
                if not await self._decide(term):
                    return
            except PASSING as error:
                log.warning("no decision without etcd", extra={"reason": str(error)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    async def _decide(self, term: Term) -> bool:
        """Write what differs; return whether we still lead."""
        await self._look_for_lost_workers()
        if not any(self._plan(self._state.placements.items.values())):
            return True
        # The mirror may lag behind our own last writes: what is written next rests on what etcd holds.
        listing = await self._etcd.list(keys.PLACEMENTS)
        withdrawn, placed = self._plan(codec.decode(Placement, kv.value) for kv in listing.items.values())
        for placement in withdrawn:
            if not await self._write(term, "withdraw", placement, Delete(_key(placement))):
                return False
        for placement in placed:
            record = codec.encode(dataclasses.replace(placement, epoch=term.epoch))
            if not await self._write(term, "place", placement, Put(_key(placement), record)):
                return False
        return True

    def _plan(self, placements: Iterable[Placement]) -> tuple[list[Placement], list[Placement]]:
        """Which placements are to go, and which to come, of no epoch yet."""
        state = self._state
        held = {dataclasses.replace(p, epoch=0) for p in placements}
        lingering = self._lost.lingering(len(state.workers.items), time.monotonic())
        deployments = state.deployments.items
        wanted = assign(deployments.values(), state.workers.items, assignment_of(held), lingering, state.ready())
        decided = {_placement(deployments[str(version)], w) for version, ws in wanted.items() for w in ws}
        return sorted(held - decided, key=_key), sorted(decided - held, key=_key)

    async def _write(self, term: Term, what: str, placement: Placement, operation: Put | Delete) -> bool:
        instance = f"{placement.model}@{placement.version}"
        log.info(what, extra={"instance": instance, "worker": placement.worker, "epoch": term.epoch})
        return bool(await self._etcd.commit([term.fence], [operation]))

    async def _look_for_lost_workers(self) -> None:
        live = self._state.workers.items
        self._known.update(live)
        missing = {p.worker for p in self._state.placements.items.values()} - set(live)
        self._lost.observe(missing, time.monotonic())
        asked = sorted(w for w in missing - self._lost.refused if w in self._known)
        refusals = await asyncio.gather(*(refuses(self._known[w].address) for w in asked))
        for worker_id, refused in zip(asked, refusals, strict=True):
            if refused:
                log.warning("worker lost", extra={"worker": worker_id, "reason": "its connections are refused"})
                self._lost.prove(worker_id)


def _placement(deployment: Deployment, worker: str) -> Placement:
    return Placement(
        model=deployment.model,
        version=deployment.version,
        worker=worker,
        manifest_digest=deployment.manifest_digest,
        format=deployment.format,
        resources=deployment.resources,
        epoch=0,
    )


def _key(placement: Placement) -> str:
    return keys.placement(placement.worker, placement.model, placement.version)


async def refuses(address: str) -> bool:
    """Whether connections to host:port are refused or reset: nobody is there. Silence proves nothing."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except (TimeoutError, OSError):
        return False
    writer.close()
    return False
