"""The leader: looks, decides and writes, again and again. Level-triggered, and fenced by its term."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Member, Placement
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.session import TTL_S, Election, Term
from modelyard_scheduler.decision import decide
from modelyard_scheduler.observer import Observer, refuses
from modelyard_scheduler.state import State
from modelyard_scheduler.writer import Writer

log = logging.getLogger(__name__)

TICK_S = 1.0
Work = Coroutine[Any, Any, None]


class Leader:
    """Campaigns, and decides while it leads."""

    def __init__(
        self,
        etcd: Etcd,
        state: State,
        member: Member,
        changed: asyncio.Event,
        *duties: Callable[[Term], Work],
        lease_s: int = TTL_S,
    ) -> None:
        """Nothing is begun.

        Args:
            etcd: where is led.
            state: what is decided about.
            member: this replica.
            changed: set after every change of the state.
            duties: what else is done for as long as a term lasts, and cancelled then.
            lease_s: so long a leader that is silent is still the leader.
        """
        self._etcd = etcd
        self._state = state
        self._member = member
        self.election = Election(etcd, keys.LEADER, codec.encode(member), lease_s)
        self._changed = changed
        self._duties = duties
        self._observer = Observer(state)
        self._caught_up = False

    async def run(self) -> None:
        """Campaign and lead, for ever."""
        await self._state.synced()
        await self._bury_predecessor()
        while True:
            term = await self.election.campaign()
            log.info("leading", extra={"epoch": term.epoch})
            await self._lead(term)
            log.warning("no longer leading", extra={"epoch": term.epoch})

    async def _bury_predecessor(self) -> None:
        """End the leadership that a dead process of this very replica left behind, which would else run out slowly."""
        try:
            held = await self._etcd.get(keys.LEADER)
            leader = codec.understood(partial(codec.decode, Member), held.key, held.value) if held else None
            if held and leader and leader.id == self._member.id and await self._is_dead(leader):
                log.info("ending the leadership of a dead predecessor", extra={"address": leader.address})
                await self._etcd.revoke(held.lease_id)
        except PASSING as error:
            log.warning("a predecessor's leadership is left to run out", extra={"reason": str(error)})

    async def _is_dead(self, leader: Member) -> bool:
        """Whether nobody is where it listened; where we listen ourselves it cannot be."""
        return leader.address == self._member.address or await refuses(leader.address)

    async def _lead(self, term: Term) -> None:
        self._observer.forget()
        self._caught_up = False
        duties = [duty(term) for duty in self._duties]
        works = [asyncio.ensure_future(work) for work in (self._decide_until_deposed(term), term.hold(), *duties)]
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
            began_s = time.thread_time()
            try:
                if not await self._decide(term):
                    return
            except PASSING as error:
                log.warning("no decision without etcd", extra={"reason": str(error)})
            # Where there is so much to decide about that it takes long, half of the time is left to calls and leases.
            await asyncio.sleep(min(time.thread_time() - began_s, TICK_S))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    async def _decide(self, term: Term) -> bool:
        """Write what differs; return whether we still lead."""
        placements = list(await self._placements())
        await self._observer.look(placements)
        view = self._observer.view(placements)
        decision = decide(view)
        if not decision:
            return True
        self._caught_up = False
        writer = Writer(self._etcd, term, dict(self._state.deployments.revisions))
        return await writer.apply(decision, dict(view.uses.last))

    async def _placements(self) -> Collection[Placement]:
        """What is placed: by the mirror, but for after a write, until the mirror has it too: so long by etcd itself.

        While a term lasts nobody else places anything.
        """
        mirror = self._state.placements
        if self._caught_up:
            return mirror.items.values()
        listing = await self._etcd.list(keys.PLACEMENTS)
        read = partial(codec.decode, Placement)
        found = {kv.key: codec.understood(read, kv.key, kv.value) for kv in listing.items.values()}
        placed = {key: placement for key, placement in found.items() if placement is not None}
        held = {keys.PLACEMENTS + name: mirror.revisions[name] for name in mirror.items}
        self._caught_up = held == {key: listing.items[key].mod_revision for key in placed}
        return placed.values()
