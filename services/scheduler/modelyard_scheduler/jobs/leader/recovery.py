"""Claims of workers that are gone: taken back, so that others execute their tasks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from modelyard.deployment import Worker
from modelyard.queue import Recovered, Upkeep
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.repetition import every

log = logging.getLogger(__name__)

LEASE_S = 15.0
"""Workers extend their claims every third of it."""
LOOK_S = 0.5
FORGET_S = 60.0
"""A worker that neither comes back nor refuses connections is looked for so long: its leases have run out by then."""


class Recovery:
    """Takes back claims: those that nobody extends, and at once those of workers that are known to be dead."""

    def __init__(
        self,
        queue: Upkeep,
        workers: Callable[[], Mapping[str, Worker]],
        refuses: Callable[[str], Awaitable[bool]],
        figures: Figures,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workers`: that are live now; `refuses`: whether nobody is at an address."""
        self._queue = queue
        self._workers = workers
        self._refuses = refuses
        self._figures = figures
        self._clock = clock
        self._known: dict[str, Worker] = {}
        self._missing_since_s: dict[str, float] = {}

    async def run(self) -> None:
        """Do both until cancelled, neither waiting for the other."""
        async with asyncio.TaskGroup() as group:
            group.create_task(every(LEASE_S / 3, "recovery of claims", self.recover))
            group.create_task(every(LOOK_S, "recovery from dead workers", self.bury))

    async def recover(self) -> None:
        """Take back what was not extended for a lease."""
        self._note(await self._queue.recover(LEASE_S))
        self._figures.looked_s = time.monotonic()

    async def bury(self) -> None:
        """Take back what workers had whose key in etcd is gone, and whose address refuses connections."""
        live, now_s = self._workers(), self._clock()
        self._known.update(live)
        missing = sorted(self._known.keys() - live.keys())
        self._missing_since_s = {worker: self._missing_since_s.get(worker, now_s) for worker in missing}
        refusals = await asyncio.gather(*(self._refuses(self._known[worker].address) for worker in missing))
        for worker, refused in zip(missing, refusals, strict=True):
            if refused:
                self._note(await self._queue.recover_from(worker))
            if refused or now_s - self._missing_since_s[worker] >= FORGET_S:
                del self._known[worker]

    def _note(self, recovered: Sequence[Recovered]) -> None:
        for one in recovered:
            facts = {"job": one.job, "task": one.task, "worker": one.owner, "outcome": one.outcome}
            log.warning("claim taken back", extra=facts)
            self._figures.recovered[one.outcome] += 1
