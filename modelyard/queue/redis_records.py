"""The records of jobs on Redis."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.queue import checks, decoding
from modelyard.queue.connection import Connection
from modelyard.queue.job_records import JobRecord, Listed, Written
from modelyard.queue.records import Caps, Job
from modelyard.queue.redis_jobs import BATCH, facts

_KEPT = -1
ROOM = 0.9
"""Which part of Redis's memory may be used for a job to be accepted; the rest is for those that run."""


class RedisRecords(Connection):
    """RecordQueue on Redis."""

    async def submit(self, job: Job, written: Written, caps: Caps) -> JobRecord:
        """As RecordQueue.submit."""
        checks.check_job(job)
        checks.check_written(job.id, written)
        content = (written.record, written.plan or b"", written.phase)
        used, limit = await self._memory_bytes()
        has_room = not limit or used <= ROOM * limit
        status, *found = await self.run("submit", *facts(job), *content, caps.jobs, int(has_room), caps.kept)
        if status == b"crowded":
            raise checks.crowded(job.id, used, limit)
        if status == b"other":
            raise checks.no_record(job.id)
        if status == b"full":
            raise checks.too_many_jobs(job.id, found[0], caps.jobs)
        return checks.known(job.id, decoding.job_record(job.id, found))

    async def _memory_bytes(self) -> tuple[int, int]:
        """What Redis uses, and what it may; 0: there is no limit."""
        found = await self.redis.command("INFO", "memory")
        return int(found["used_memory"]), int(found["maxmemory"])

    async def change(self, job: str, written: Written, revision: int, epoch: int = 0) -> int | None:
        """As RecordQueue.change."""
        checks.check_written(job, written)
        keep_ms = _KEPT if written.keep_s is None else round(written.keep_s * 1e3)
        content = (written.record, written.plan or b"", written.phase, keep_ms)
        status, *found = await self.run("change", job, revision, epoch, *content)
        if status == b"missing":
            raise checks.no_job(job)
        if status == b"deposed":
            raise checks.deposed(job, epoch, found[0])
        return int(found[0]) if found else None

    async def record(self, job: str) -> JobRecord:
        """As RecordQueue.record."""
        found = await self.redis.command("HMGET", self.key("job", job), "record", "revision", "epoch", "plan")
        return checks.known(job, decoding.job_record(job, found))

    async def records(self, jobs: Sequence[str]) -> list[JobRecord | None]:
        """As RecordQueue.records."""
        found = await self.run("records", *jobs) if jobs else []
        return [decoding.job_record(job, values) for job, values in zip(jobs, found, strict=True)]

    async def listed(self, tenant: str = "", below: int = 0, limit: int = 100) -> list[Listed]:
        """As RecordQueue.listed."""
        found = await self.run("listed", tenant, below, limit)
        return [Listed(decoding.text(job), place) for job, place in found]

    async def active(self) -> list[str]:
        """As RecordQueue.active."""
        return sorted(map(decoding.text, await self.redis.command("SMEMBERS", f"{self.prefix}active")))

    async def clear(self, job: str) -> None:
        """As RecordQueue.clear."""
        cursor = b"0"
        status = b"more"
        while status == b"more":
            status, cursor = await self.run("clear", job, cursor, BATCH)
        if status == b"missing":
            raise checks.no_job(job)
        if status == b"refused":
            raise checks.not_ended(job, decoding.text(cursor))

    async def expire(self, limit: int = 100) -> list[str]:
        """As RecordQueue.expire."""
        return [decoding.text(job) for job in await self.run("expire", limit)]
