"""The records of jobs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from modelyard.queue import checks
from modelyard.queue.job_records import JobRecord, Listed, Written
from modelyard.queue.memory_state import HeldJob, HeldRecord, Memory
from modelyard.queue.records import Caps, Job, TaskName


class MemoryRecords(Memory):
    """RecordQueue in memory."""

    def _recorded(self, job: str) -> tuple[HeldJob, HeldRecord]:
        held = self.held(job)
        if held.record is None:
            raise checks.no_job(job)
        return held, held.record

    def _places(self) -> dict[str, HeldRecord]:
        """Records by their jobs, the newest first."""
        held = {name: job.record for name, job in self.jobs.items() if job.record}
        return dict(sorted(held.items(), key=lambda item: -item[1].place))

    async def submit(self, job: Job, written: Written, caps: Caps) -> JobRecord:
        """As RecordQueue.submit."""
        checks.check_job(job)
        checks.check_written(job.id, written)
        if job.id not in self.jobs:
            self._create(job, written, caps)
        if self.jobs[job.id].record is None:
            raise checks.no_record(job.id)
        return await self.record(job.id)

    def _create(self, job: Job, written: Written, caps: Caps) -> None:
        mine = [held.record for held in self.jobs.values() if held.spec.tenant == job.tenant]
        active = sum(record is not None and record.active for record in mine)
        if active >= caps.jobs:
            raise checks.too_many_jobs(job.id, active, caps.jobs)
        found = JobRecord(job.id, written.record, 1, 0, written.plan or b"")
        place = max((record.place for record in self._places().values()), default=0) + 1
        self.jobs[job.id] = HeldJob(job, record=HeldRecord(found, written.phase, place))
        self.emit(self.jobs[job.id], "state", detail=written.phase)
        self.answers[""].append(TaskName(job.id, ""))
        self._crowd_out(job.tenant, caps.kept)

    def _crowd_out(self, tenant: str, most: int) -> None:
        """Have the oldest jobs of a tenant forgotten now, beyond so many."""
        mine = [(name, record) for name, record in self._places().items() if self.jobs[name].spec.tenant == tenant]
        for _, record in mine[::-1][: max(len(mine) - most, 0)]:
            if not record.active and record.due_s is not None:
                record.due_s = min(record.due_s, self.clock())

    async def change(self, job: str, written: Written, revision: int, epoch: int = 0) -> int | None:
        """As RecordQueue.change."""
        checks.check_written(job, written)
        held, record = self._recorded(job)
        if held.state == "deleting":
            raise checks.no_job(job)
        held.check_epoch(epoch)
        before = record.found
        plan = before.plan if written.plan is None else written.plan
        after = JobRecord(job, written.record, revision + 1, 0, plan)
        if after == before and record.phase == written.phase:
            return before.revision
        if before.revision != revision:
            return None
        held.epoch = max(epoch, held.epoch)
        record.found = after
        self._enter(held, record, written)
        return after.revision

    def _enter(self, held: HeldJob, record: HeldRecord, written: Written) -> None:
        """Let a job be what its record says."""
        news = record.phase != written.phase
        record.phase = written.phase
        record.active = record.active or written.keep_s is None
        record.due_s = None if written.keep_s is None else self.clock() + written.keep_s
        self.settle_parked(held)
        if news:
            self.emit(held, "state", detail=written.phase)

    async def record(self, job: str) -> JobRecord:
        """As RecordQueue.record."""
        held, record = self._recorded(job)
        return replace(record.found, epoch=held.epoch)

    async def records(self, jobs: Sequence[str]) -> list[JobRecord | None]:
        """As RecordQueue.records."""
        known = self._places()
        return [replace(await self.record(job), plan=b"") if job in known else None for job in jobs]

    async def listed(self, tenant: str = "", below: int = 0, limit: int = 100) -> list[Listed]:
        """As RecordQueue.listed."""
        places = [Listed(job, record.place) for job, record in self._places().items()]
        mine = [one for one in places if tenant in {"", self.jobs[one.job].spec.tenant}]
        return [one for one in mine if not below or one.place < below][:limit]

    async def active(self) -> list[str]:
        """As RecordQueue.active."""
        return sorted(job for job, record in self._places().items() if record.active)

    async def clear(self, job: str) -> None:
        """As RecordQueue.clear."""
        held, record = self._recorded(job)
        if record.due_s is None:
            raise checks.not_ended(job, record.phase)
        self.cancel_open(held)
        gone = {task.spec.id: task for task in held.tasks.values() if task.state not in {"open", "dead"}}
        held.cleared.update(task.state for task in gone.values())
        held.tasks = {name: task for name, task in held.tasks.items() if name not in gone}
        held.forgotten += len(held.endings)
        held.endings.clear()
        record.active = False

    async def expire(self, limit: int = 100) -> list[str]:
        """As RecordQueue.expire."""
        due = [(record.due_s, job) for job, record in self._places().items() if record.due_s is not None]
        jobs = [job for due_s, job in sorted(due) if due_s <= self.clock()][:limit]
        for held in [self.jobs[job] for job in jobs if self.jobs[job].state != "deleting"]:
            held.state = "deleting"
            self.emit(held, "deleting")
        return jobs
