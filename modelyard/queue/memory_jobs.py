"""A scheduler's side of the queue in memory."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.queue import checks
from modelyard.queue.memory_records import MemoryRecords
from modelyard.queue.memory_state import HeldJob, HeldTask
from modelyard.queue.records import (
    Caps,
    DeadLetter,
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
        known: dict[str, TaskName] = {}
        keys: dict[str, TaskName] = {}
        holders = [self._holder(held, task, known, keys) for task in tasks]
        fresh = [task for task, holder in zip(tasks, holders, strict=True) if holder is None]
        if fresh:
            self._check_caps(held, len(fresh), caps)
            held.epoch = max(epoch, held.epoch)
        for task in fresh:
            self._admit(held, task)
        return holders

    def _holder(
        self, job: HeldJob, task: Task, known: dict[str, TaskName], keys: dict[str, TaskName]
    ) -> TaskName | None:
        """Who was there before the task; else note that it is there, in this call."""
        name = TaskName(job.spec.id, task.id)
        key = keys.get(task.dedupe) or self.dedupe.get((job.spec.tenant, task.dedupe))
        holder = known.get(task.id) or (key if task.dedupe else None) or (name if task.id in job.tasks else None)
        if holder is None:
            known[task.id] = name
            keys |= {task.dedupe: name} if task.dedupe else {}
        return holder

    def _check_caps(self, job: HeldJob, more: int, caps: Caps) -> None:
        mine = [held.counts() for held in self.jobs.values() if held.spec.tenant == job.spec.tenant]
        queued, in_flight = sum(counts.queued for counts in mine), sum(counts.in_flight for counts in mine)
        length = len(self.turns[job.spec.model].lanes[job.spec.tenant, job.spec.priority].entries)
        if queued + more > caps.queued:
            raise checks.full(job.spec.id, "queued", queued, caps.queued)
        if in_flight >= caps.in_flight:
            raise checks.full(job.spec.id, "in flight", in_flight, caps.in_flight)
        if length + more > caps.stream:
            raise checks.full(job.spec.id, "in the stream", length, caps.stream)

    def _admit(self, job: HeldJob, task: Task) -> None:
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
        held = self.held(job)
        if held.parked:
            self.delayed[held.spec.model] |= {(job, task): at - 1e9 for at, task in enumerate(held.parked)}
            held.parked.clear()
            self.ring(held.spec.model)

    async def cancel(self, job: str) -> None:
        """As JobQueue.cancel."""
        self._set_state(job, "cancelled")
        held = self.held(job)
        held.parked.clear()
        left = [task for task in held.tasks.values() if task.state == "open"]
        for task in left:
            self.remove_entries(held, task)
            self.delayed[held.spec.model].pop((job, task.spec.id), None)
            self.end(held, task, "cancelled")
        if left:
            self.emit(held, "drained")

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

    async def running(self, job: str, limit: int) -> list[InFlight]:
        """As JobQueue.running."""
        tasks = self.jobs[job].tasks if job in self.jobs else {}
        since = sorted((task.since_s, name) for name, task in tasks.items() if task.since_s is not None)
        return [self._in_flight(tasks[name], since_s) for since_s, name in since[:limit]]

    def _in_flight(self, task: HeldTask, since_s: float) -> InFlight:
        workers = sorted(entry.owner for entry in task.entries.values() if entry.token)
        return InFlight(task.spec.id, self.clock() - since_s, len(task.entries), tuple(workers))

    async def speculate(self, job: str, task: str) -> bool:
        """As JobQueue.speculate."""
        held = self.find(job, task)
        if held is None or self.jobs[job].state != "running" or not held.claimed or len(held.entries) > 1:
            return False
        self.add_entry(self.jobs[job], held)
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

    async def retry_dead(self, job: str, task: str) -> None:
        """As JobQueue.retry_dead."""
        held = self.find(job, task)
        if held is None or held.state != "dead":
            raise checks.no_letter(job, task)
        owner = self.jobs[job]
        if owner.closed:
            raise checks.refused(job, owner.closed, "retried")
        owner.letters = [letter for letter in owner.letters if letter.letter != held.letter]
        held.state, held.reason, held.failures, held.deaths = "open", "", 0, 0
        self.add_entry(owner, held)
        self.emit(owner, "retried", task)

    async def replies(self, replica: str, wait_s: float) -> list[TaskName]:
        """As JobQueue.replies."""
        await self.until(lambda: self.answers.get(replica), wait_s)
        found = self.answers.pop(replica, [])
        if found[_PAGE:]:
            self.answers[replica] = found[_PAGE:]
        return found[:_PAGE]
