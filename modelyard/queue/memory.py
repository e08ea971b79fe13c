"""The queue without Redis: the same contract, for tests of what uses it. It is as fast as its tests are small."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.names import check_name
from modelyard.queue import checks
from modelyard.queue.decoding import LOADS, depth
from modelyard.queue.memory_claims import MemoryClaims
from modelyard.queue.memory_turns import Entry
from modelyard.queue.records import Claim, Depth, Recovered
from modelyard.queue.redis_claims import jitter


class MemoryQueue(MemoryClaims):
    """TaskQueue in memory."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, part_of_delay: Callable[[], float] = jitter
    ) -> None:
        """`clock`: seconds; `part_of_delay`: how much of a delay is waited, a half to all."""
        super().__init__(clock, part_of_delay)
        self._sweep: tuple[float, float] | None = None

    async def recover(self, lease_s: float) -> list[Recovered]:
        """As Upkeep.recover."""
        now = self.clock()
        since_s, last_s = self._sweep or (now, now)
        self._sweep = (since_s if now - last_s < max(lease_s, 1e-3) else now, now)
        if now - self._sweep[0] < lease_s:
            return []
        patience_s = lease_s + max(0.0, now - last_s - lease_s / 2)
        return self._recover(lambda entry: now - entry.extended_s >= patience_s)

    async def recover_from(self, worker: str) -> list[Recovered]:
        """As Upkeep.recover_from."""
        check_name("worker", worker)
        return self._recover(lambda entry: entry.owner == worker)

    async def lost(self, claim: Claim) -> Recovered | None:
        """As ClaimQueue.lost."""
        found = self._live(claim)
        return self._take_back(found[2]) if found else None

    def _recover(self, lost: Callable[[Entry], bool]) -> list[Recovered]:
        lanes = [lane for turns in self.turns.values() for lane in turns.lanes.values()]
        entries = [entry for lane in lanes for entry in lane.entries.values() if entry.token and lost(entry)]
        return [self._take_back(entry) for entry in sorted(entries, key=lambda entry: entry.number)]

    def _take_back(self, entry: Entry) -> Recovered:
        job, owner = self.jobs[entry.job], entry.owner
        task, outcome = job.tasks[entry.task], "returned"
        self.give_back(job, task, entry)
        if len(task.entries) > 1:
            self.remove_entry(job, task, entry)
            return Recovered(entry.job, entry.task, owner, "superseded")
        task.deaths += 1
        if task.deaths >= job.spec.retry.max_deaths:
            self.remove_entry(job, task, entry)
            self.bury(job, task, f"the worker was lost {task.deaths} times")
            outcome = "dead"
        else:
            self.emit(job, "recovered", entry.task, owner)
        return Recovered(entry.job, entry.task, owner, outcome)

    async def set_weight(self, tenant: str, weight: float) -> None:
        """As Upkeep.set_weight."""
        checks.check_weight(tenant, weight)
        self.weights[tenant] = weight

    async def depths(self) -> list[Depth]:
        """As Upkeep.depths."""
        keys = sorted({(job.spec.tenant, job.spec.model) for job in self.jobs.values()})
        found = [self._depth(*key) for key in keys]
        return [one for one in found if one.queued or one.in_flight or one.delayed or one.dead]

    def _depth(self, tenant: str, model: str) -> Depth:
        jobs = [job for job in self.jobs.values() if (job.spec.tenant, job.spec.model) == (tenant, model)]
        counts = [job.counts() for job in jobs]
        lanes = [lane for (whose, _), lane in self.turns[model].lanes.items() if whose == tenant]
        waiting = [self.clock() - entry.at_s for lane in lanes for entry in lane.ready()]
        loads = {what: sum(getattr(one, what) for one in counts) for what in LOADS}
        return depth((tenant, model), loads, max(waiting, default=0.0))
