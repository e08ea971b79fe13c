"""A scheduler's side of the queue in memory."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import ModelyardError
from modelyard.queue import checks
from modelyard.queue.memory_records import MemoryRecords
from modelyard.queue.memory_state import HeldJob, HeldTask
from modelyard.queue.records import (
    Caps,
    DeadLetter,
    Ended,
    Event,
    InFlight,
    Job,
    JobState,
    JobStatus,
    Task,
    TaskName,
    TaskStatus,
)

_PAGE = 100
_LIVE = ("running", "paused")


class MemoryJobs(MemoryRecords):
    """JobQueue in memory."""

    async def open(self, job: Job) -> None:
        """As JobQueue.open."""
        checks.check_job(job)
        if job.id not in self.jobs:
            self.jobs[job.id] = HeldJob(job)
            self.emit(self.jobs[job.id], "running")
        elif self.jobs[job.id].spec != job:
            raise checks.other_job(job.id)

    async def enqueue(self, job: str, tasks: Sequence[Task], caps: Caps, epoch: int = 0) -> list[TaskName | None]:
        """As JobQueue.enqueue."""
        checks.check_tasks(tasks)
        held = self.held(job)
        held.check_epoch(epoch)
        if held.closed:
            raise checks.refused(job, held.closed, "added to")
        holders: list[TaskName | None] = []
        for task in tasks:
            holder = self._holder(held, task)
            if holder is None and (full := self._full(held, caps)):
                if not any(holder is None for holder in holders):
                    raise full
                break
            if holder is None:
                self._admit(held, task, caps, epoch)
            holders.append(holder)
        return holders

    def _holder(self, job: HeldJob, task: Task) -> TaskName | None:
        if task.id in job.tasks:
            return TaskName(job.spec.id, task.id)
        return self.dedupe.get((job.spec.tenant, task.dedupe)) if task.dedupe else None

    def _full(self, job: HeldJob, caps: Caps) -> ModelyardError | None:
        mine = [held.counts() for held in self.jobs.values() if held.spec.tenant == job.spec.tenant]
        waiting = sum(counts.queued + counts.delayed for counts in mine)
        length = len(self.turns[job.spec.model].lanes[job.spec.tenant, job.spec.priority].entries)
        if waiting >= caps.queued:
            return checks.full(job.spec.id, "waiting", waiting, caps.queued)
        return checks.full(job.spec.id, "in the stream", length, caps.stream) if length >= caps.stream else None

    def _admit(self, job: HeldJob, task: Task, caps: Caps, epoch: int) -> None:
        job.epoch = max(epoch, job.epoch)
        if self.caps.get(job.spec.tenant) != caps.in_flight:
            self.caps[job.spec.tenant] = caps.in_flight
            self.let_in(job.spec.tenant)
        job.tasks[task.id] = HeldTask(task)
        if task.dedupe:
            self.dedupe[job.spec.tenant, task.dedupe] = TaskName(job.spec.id, task.id)
        self.add_entry(job, job.tasks[task.id])

    async def pause(self, job: str) -> None:
        """As JobQueue.pause."""
        self._set_state(job, "paused")

    async def resume(self, job: str) -> None:
        """As JobQueue.resume."""
        self._set_state(job, "running")

    async def cancel(self, job: str) -> None:
        """As JobQueue.cancel."""
        self._set_state(job, "cancelled")
        self.cancel_open(self.held(job))

    async def delete(self, job: str) -> None:
        """As JobQueue.delete."""
        if job not in self.jobs:
            return
        self.jobs[job].state = "running"
        await self.cancel(job)
        del self.jobs[job]
        self.dedupe = {key: name for key, name in self.dedupe.items() if name.job != job}

    def _set_state(self, job: str, state: JobState) -> None:
        held = self.held(job)
        if held.state == state:
            return
        if held.state not in _LIVE:
            raise checks.refused(job, held.state, state)
        held.state = state
        self.settle_parked(held)
        self.emit(held, state)

    async def job(self, job: str) -> JobStatus:
        """As JobQueue.job."""
        held = self.held(job)
        return JobStatus(held.spec, held.state, held.counts(), held.emitted)

    async def tasks(self, job: str, tasks: Sequence[str]) -> list[TaskStatus | None]:
        """As JobQueue.tasks."""
        return [self._status(self.find(job, task)) for task in tasks]

    @staticmethod
    def _status(task: HeldTask | None) -> TaskStatus | None:
        if task is None:
            return None
        counts = (task.attempts, task.failures, task.deaths)
        return TaskStatus(task.spec.id, task.state, task.result, task.reason, *counts)

    async def ended(self, job: str, after: int, limit: int) -> list[Ended]:
        """As JobQueue.ended."""
        if job not in self.jobs:
            return []
        held = self.jobs[job]
        first = max(0, after - held.forgotten)
        found = [self._status(self.find(job, task)) for task in held.endings[first:][:limit]]
        return [Ended(number, status) for number, status in enumerate(found, held.forgotten + first + 1) if status]

    async def running(self, job: str, limit: int) -> list[InFlight]:
        """As JobQueue.running."""
        tasks = self.jobs[job].tasks if job in self.jobs else {}
        since = sorted((task.since_s, name) for name, task in tasks.items() if task.since_s is not None)
        return [self._in_flight(tasks[name], since_s) for since_s, name in since[:limit]]

    def _in_flight(self, task: HeldTask, since_s: float) -> InFlight:
        workers = sorted(entry.owner for entry in task.entries.values() if entry.token)
        return InFlight(task.spec.id, self.clock() - since_s, len(task.entries), tuple(workers))

    async def speculate(self, job: str, task: str, epoch: int = 0) -> bool:
        """As JobQueue.speculate."""
        if job not in self.jobs:
            return False
        owner, held = self.jobs[job], self.find(job, task)
        owner.check_epoch(epoch)
        if owner.state != "running" or owner.closed or held is None or not held.claimed or len(held.entries) > 1:
            return False
        owner.epoch = max(epoch, owner.epoch)
        self.add_entry(owner, held)
        return True

    async def events(self, job: str, after: int, wait_s: float = 0.0) -> list[Event]:
        """As JobQueue.events."""
        await self.until(lambda: self._after(job, after), wait_s)
        return self._after(job, after)[:_PAGE]

    def _after(self, job: str, number: int) -> list[Event]:
        return [event for event in self.jobs[job].events if event.number > number] if job in self.jobs else []

    async def dead_letters(self, job: str, after: str = "", limit: int = _PAGE) -> list[DeadLetter]:
        """As JobQueue.dead_letters."""
        letters = self.jobs[job].letters if job in self.jobs else []
        last = int(after.partition("-")[0] or 0)
        return [letter for letter in letters if int(letter.letter.partition("-")[0]) > last][:limit]

    async def retry_dead(self, job: str, task: str, epoch: int = 0) -> bool:
        """As JobQueue.retry_dead."""
        held = self.find(job, task)
        if held is None:
            raise checks.no_task(job, task)
        owner = self.jobs[job]
        owner.check_epoch(epoch)
        if held.state != "dead":
            return False
        if owner.closed:
            raise checks.refused(job, owner.closed, "retried")
        owner.epoch = max(epoch, owner.epoch)
        owner.letters = [letter for letter in owner.letters if letter.letter != held.letter]
        held.state, held.reason, held.failures, held.deaths = "open", "", 0, 0
        self.add_entry(owner, held)
        self.emit(owner, "retried", task)
        return True

    async def replies(self, replica: str, wait_s: float) -> list[TaskName]:
        """As JobQueue.replies."""
        await self.until(lambda: self.answers.get(replica), wait_s)
        found = self.answers.pop(replica, [])
        if found[_PAGE:]:
            self.answers[replica] = found[_PAGE:]
        return found[:_PAGE]
