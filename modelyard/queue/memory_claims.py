"""A worker's side of the queue in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelyard.names import check_name
from modelyard.queue import checks
from modelyard.queue.memory_jobs import MemoryJobs
from modelyard.queue.memory_state import HeldJob, HeldTask
from modelyard.queue.memory_turns import Entry, Lane
from modelyard.queue.records import Claim, Failed, Idle
from modelyard.queue.redis_claims import mint

_PROMOTED = 16


class MemoryClaims(MemoryJobs):
    """ClaimQueue in memory."""

    async def fetch(self, worker: str, models: Sequence[str], slot: int = 0) -> Claim | Idle:
        """As ClaimQueue.fetch; whatever the slot, for no answer is lost here."""
        token = mint(check_name("worker", worker))
        self.passed_over.clear()
        for model in sorted(models, key=lambda name: self.rota.get(name, 0)):
            if claim := self._from_model(model, token):
                self._pass_on_rings(models)
                return claim
        self.rings.difference_update(models)
        for model in self.passed_over:
            self.ring(model)
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
            if due_s > self.clock():
                return
            if not task:
                self._unpark(self.jobs[job])
                continue
            del delayed[job, task]
            self.jobs[job].tasks[task].delayed = False
            self.add_entry(self.jobs[job], self.jobs[job].tasks[task])

    def _unpark(self, job: HeldJob) -> None:
        some, job.parked = job.parked[:_PROMOTED], job.parked[_PROMOTED:]
        for task in some:
            self.add_entry(job, job.tasks[task])
        self.settle_parked(job)

    def _from_model(self, model: str, token: str) -> Claim | None:
        self._promote(model)
        turns, passed = self.turns[model], set[str]()
        while tenant := turns.next(passed):
            if self._in_flight_of(tenant) >= self.caps.get(tenant, math.inf):
                self.kept_out[tenant].add(model)
                turns.leave(tenant)
                continue
            for lane in turns.ready(tenant):
                if claim := self._from_lane(lane, token):
                    return claim
            passed.add(tenant)
        return None

    def _in_flight_of(self, tenant: str) -> int:
        return sum(job.counts().in_flight for job in self.jobs.values() if job.spec.tenant == tenant)

    def _from_lane(self, lane: Lane, token: str) -> Claim | None:
        """Claim the first that is for this worker; what is of paused or ended jobs is set aside."""
        worker = token.partition("/")[0]
        for entry in lane.ready():
            job = self.jobs[entry.job]
            task = job.tasks[entry.task]
            if job.state != "running" or job.closed:
                self._set_aside(job, task, entry)
            elif all(other.owner != worker for other in task.entries.values()):
                return self._claim(job, task, entry, token)
            elif not entry.returned:
                entry.returned = True
                self.passed_over.add(job.spec.model)
        return None

    def _set_aside(self, job: HeldJob, task: HeldTask, entry: Entry) -> None:
        self.remove_entry(job, task, entry)
        if job.state in {"running", "paused"} and not task.entries:
            job.parked.append(entry.task)

    def _claim(self, job: HeldJob, task: HeldTask, entry: Entry, token: str) -> Claim:
        spec, now = job.spec, self.clock()
        turns = self.turns[spec.model]
        turns.charge(spec.tenant, task.spec.cost)
        self.rota[spec.model] = max(self.rota.values(), default=0) + 1
        entry.token, entry.extended_s = token, now
        turns.update(spec.tenant)
        task.attempts += 1
        task.since_s = now if task.since_s is None else task.since_s
        self.emit(job, "started", entry.task, entry.owner)
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
        self.settle_flight(job, task)
        if task.entries:
            return Failed("superseded")
        task.failures += 1
        if not retryable or task.failures >= job.spec.retry.max_failures:
            self.bury(job, task, checks.bounded(reason))
            return Failed("dead")
        return self._delay(job, task, checks.bounded(reason))

    def _delay(self, job: HeldJob, task: HeldTask, reason: str) -> Failed:
        policy = job.spec.retry
        delay_s = min(policy.max_s, policy.first_s * 2 ** (task.failures - 1)) * self.jitter()
        task.reason, task.delayed = reason, True
        self.delayed[job.spec.model][job.spec.id, task.spec.id] = self.clock() + delay_s
        self.emit(job, "retry", task.spec.id, reason)
        self.ring(job.spec.model)
        return Failed("retry", delay_s)

    async def release(self, claim: Claim) -> bool:
        """As ClaimQueue.release."""
        if found := self._live(claim):
            self.give_back(*found)
        return found is not None
