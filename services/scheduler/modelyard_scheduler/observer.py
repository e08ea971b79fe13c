"""What the leader sees: the mirrors, and what it remembers of them since its term began."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable

from modelyard.deployment import InstanceState, Placement, Worker
from modelyard.names import ModelVersion
from modelyard.reservation import Need
from modelyard_scheduler.decision import View, remember, version_of
from modelyard_scheduler.eviction import Uses
from modelyard_scheduler.lost import LostWorkers
from modelyard_scheduler.placement import Site
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 1.0


class Observer:
    """Looks at the state, and probes workers that vanished."""

    def __init__(self, state: State) -> None:
        self.lost = LostWorkers()
        self.uses = Uses()
        self._state = state
        self._known: dict[str, Worker] = {}
        self._live: dict[str, Worker] = {}
        self._reserved: dict[Site, Need] = {}

    def forget(self) -> None:
        """Begin anew: what an earlier term saw is long past."""
        self.lost, self.uses = LostWorkers(), Uses()

    async def look(self, placements: Iterable[Placement]) -> None:
        """Note what time and connections tell: who is lost, what fails, what is called.

        `placements`: told, because the mirror may lag behind our own last writes.
        """
        await self._look_for_lost_workers({placement.worker for placement in placements})
        state, now_s = self._state, time.monotonic()
        state.note_failures()
        ready = {version_of(i) for i in state.instances.items.values() if i.state is InstanceState.READY}
        revisions = state.activities.revisions
        activities = {_version(name): (revisions[name], a) for name, a in state.activities.items.items()}
        self.uses.observe(activities, ready, now_s, time.time())

    async def _look_for_lost_workers(self, placed: set[str]) -> None:
        """Who is live is noted too: whoever vanishes while we look is only missed by the next look, as all others."""
        self._live = dict(self._state.workers.items)
        self._known.update(self._live)
        missing = placed - set(self._live)
        self.lost.observe(missing, time.monotonic())
        asked = sorted(w for w in missing - self.lost.refused if w in self._known)
        refusals = await asyncio.gather(*(refuses(self._known[w].address) for w in asked))
        for worker_id, refused in zip(asked, refusals, strict=True):
            if refused:
                log.warning("worker lost", extra={"worker": worker_id, "reason": "its connections are refused"})
                self.lost.prove(worker_id)

    def view(self, placements: Collection[Placement]) -> View:
        """What there is, on these placements, at which was looked."""
        state, now_s = self._state, time.monotonic()
        self._reserved = remember(self._reserved, placements, state.instances.items.values())
        deployments, jobs = state.deployed(), state.internal()
        return View(
            deployments=deployments,
            jobs=jobs,
            workers=self._live,
            placements=placements,
            instances=list(state.instances.items.values()),
            uses=self.uses,
            reserved=self._reserved,
            evicted={_version(name) for name in state.evictions.items},
            lingering=self.lost.lingering(len(self._live), now_s),
            avoided=state.failures.avoided({**deployments, **jobs}),
            now_s=now_s,
        )


def _version(name: str) -> ModelVersion:
    """Of the last part of a key."""
    model, _, version = name.partition("@")
    return ModelVersion(model, version)


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
