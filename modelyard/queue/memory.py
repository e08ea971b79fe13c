"""The queue without Redis: the same contract, for tests of what uses it. It is as fast as its tests are small."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from modelyard.names import check_name
from modelyard.queue import checks
from modelyard.queue.memory_jobs import MemoryJobs
from modelyard.queue.memory_state import HeldJob, HeldTask
from modelyard.queue.memory_turns import Entry
from modelyard.queue.records import Claim, Depth, Failed, Idle, Recovered
from modelyard.queue.redis_claims import jitter, mint

_PROMOTED = 16


class MemoryQueue(MemoryJobs):
    """TaskQueue in memory."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, part_of_delay: Callable[[], float] = jitter
    ) -> None:
        """`clock`: seconds; `part_of_delay`: how much of a delay is waited, a half to all."""
        super().__init__(clock, part_of_delay)
        self._sweep: tuple[float, float] | None = None

    async def fetch(self, worker: str, models: Sequence[str]) -> Claim | Idle:
        """As ClaimQueue.fetch."""
        token = mint(check_name("worker", worker))
        for model in sorted(models, key=lambda name: self.rota.get(name, 0)):
            self._promote(model)
            while self.turns[model]:
                if claim := self._take(model, token):
                    self._pass_on_rings(models)
                    return claim
        self.rings.difference_update(models)
        due_s = [due_s for model in models for due_s in self.delayed[model].values()]
        return Idle(max(0.0, min(due_s) - self.clock()) if due_s else None)

    def _pass_on_rings(self, models: Sequence[str]) -> None:
        for model in models:
            if self.turns[model] or self.delayed[model]:
                self.ring(model)
            else:
                self.rings.discard(model)

    def _promote(self, model: str) -> None:
        delayed = self.delayed[model]
        due = sorted((due_s, f"{job}/{task}", (job, task)) for (job, task), due_s in delayed.items())
        for due_s, _, (job, task) in due[:_PROMOTED]:
            if due_s <= self.clock():
                del delayed[job, task]
                self.add_entry(self.jobs[job], self.jobs[job].tasks[task])

    def _take(self, model: str, token: str) -> Claim | None:
        """Claim what comes next; None if it was set aside."""
        entry = self.turns[model].lanes[self.turns[model].next()].ready()[0]
        job = self.jobs[entry.job]
        task = job.tasks[entry.task]
        if job.state != "running":
            self.remove_entry(job, task, entry)
            if not task.entries:
                job.parked.append(entry.task)
            return None
        return self._claim(job, task, entry, token)

    def _claim(self, job: HeldJob, task: HeldTask, entry: Entry, token: str) -> Claim:
        spec, now = job.spec, self.clock()
        turns = self.turns[spec.model]
        turns.charge(spec.tenant, task.spec.cost)
        self.rota[spec.model] = max(self.rota.values(), default=0) + 1
        entry.token, entry.extended_s = token, now
        turns.update(spec.tenant)
        task.attempts += 1
        task.since_s = now if task.since_s is None else task.since_s
        return Claim(
            job=spec.id,
            task=entry.task,
            entry=entry.id,
            token=token,
            model=spec.model,
            tenant=spec.tenant,
            priority=spec.priority,
            payload=task.spec.payload,
            attempt=task.attempts,
            failures=task.failures,
            deaths=task.deaths,
            waited_s=now - entry.at_s,
        )

    async def wait(self, models: Sequence[str], wait_s: float) -> bool:
        """As ClaimQueue.wait."""
        if not await self.until(lambda: self.rings.intersection(models), wait_s):
            return False
        self.rings.discard(next(model for model in models if model in self.rings))
        return True

    def _live(self, claim: Claim) -> tuple[HeldJob, HeldTask, Entry] | None:
        """What a claim holds; None if it is stale."""
        task = self.find(claim.job, claim.task)
        entry = task.entries.get(int(claim.entry.partition("-")[0])) if task else None
        if task is None or entry is None or entry.token != claim.token:
            return None
        return self.jobs[claim.job], task, entry

    async def extend(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """As ClaimQueue.extend."""
        lost = []
        for claim in claims:
            found = self._live(claim)
            if found and found[2].owner == worker:
                found[2].extended_s = self.clock()
            else:
                lost.append(claim)
        return lost

    async def finish(self, claim: Claim, result: bytes) -> bool:
        """As ClaimQueue.finish."""
        checks.check_result(claim.task, result)
        if not (found := self._live(claim)) or found[0].state == "deleting":
            task = self.find(claim.job, claim.task)
            return task is not None and task.winner == claim.token
        job, task, _ = found
        self.remove_entries(job, task)
        task.result, task.winner = result, claim.token
        self.end(job, task, "done")
        self.emit(job, "done", claim.task)
        return True

    async def fail(self, claim: Claim, reason: str, *, retryable: bool = True) -> Failed:
        """As ClaimQueue.fail."""
        if not (found := self._live(claim)) or found[0].state == "deleting":
            return Failed("stale")
        job, task, entry = found
        self.remove_entry(job, task, entry)
        task.since_s = task.since_s if task.claimed else None
        task.failures += 1
        if task.entries:
            return Failed("superseded")
        if not retryable or task.failures >= job.spec.retry.max_failures:
            self.bury(job, task, reason)
            return Failed("dead")
        return self._delay(job, task, reason)

    def _delay(self, job: HeldJob, task: HeldTask, reason: str) -> Failed:
        policy = job.spec.retry
        delay_s = min(policy.max_s, policy.first_s * 2 ** (task.failures - 1)) * self.jitter()
        task.reason = reason
        self.delayed[job.spec.model][job.spec.id, task.spec.id] = self.clock() + delay_s
        self.emit(job, "retry", task.spec.id, reason)
        self.ring(job.spec.model)
        return Failed("retry", delay_s)

    async def release(self, claim: Claim) -> bool:
        """As ClaimQueue.release."""
        if found := self._live(claim):
            self.give_back(*found)
        return found is not None

    async def recover(self, lease_s: float) -> list[Recovered]:
        """As Upkeep.recover."""
        now = self.clock()
        since_s, last_s = self._sweep or (now, now)
        self._sweep = (since_s if now - last_s < max(lease_s / 2, 1e-3) else now, now)
        if now - self._sweep[0] < lease_s:
            return []
        return self._recover(lambda entry: now - entry.extended_s >= lease_s)

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
        task.deaths += 1
        if len(task.entries) > 1:
            self.remove_entry(job, task, entry)
            outcome = "superseded"
        elif task.deaths >= job.spec.retry.max_deaths:
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
        return [depth for depth in found if depth.queued or depth.in_flight]

    def _depth(self, tenant: str, model: str) -> Depth:
        jobs = [job for job in self.jobs.values() if (job.spec.tenant, job.spec.model) == (tenant, model)]
        counts = [job.counts() for job in jobs]
        lanes = [lane for (whose, _), lane in self.turns[model].lanes.items() if whose == tenant]
        waiting = [self.clock() - entry.at_s for lane in lanes for entry in lane.ready()]
        queued, in_flight = sum(c.queued for c in counts), sum(c.in_flight for c in counts)
        return Depth(tenant, model, queued, in_flight, max(waiting, default=0.0))
