"""A scheduler's side of the queue on Redis."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.queue import checks, decoding
from modelyard.queue.connection import Connection
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

BATCH = 500
_PAGE = 100


def facts(job: Job) -> tuple[str | int, ...]:
    """What the scripts are told of a job."""
    policy = job.retry
    delays_ms = round(policy.first_s * 1e3), round(policy.max_s * 1e3)
    return (job.id, job.model, job.tenant, job.priority, policy.max_failures, policy.max_deaths, *delays_ms)


class RedisJobs(Connection):
    """JobQueue on Redis."""

    async def open(self, job: Job) -> None:
        """As JobQueue.open."""
        checks.check_job(job)
        found = await self.run("open", *facts(job))
        if found[0] == b"other":
            raise checks.other_job(job.id)

    async def enqueue(self, job: str, tasks: Sequence[Task], caps: Caps, epoch: int = 0) -> list[TaskName | None]:
        """As JobQueue.enqueue: in one script, so no more than some thousand tasks at a time."""
        checks.check_tasks(tasks)
        limits = (caps.queued, caps.in_flight, caps.stream)
        words = [word for task in tasks for word in (task.id, task.payload, task.reply, task.dedupe, task.cost)]
        status, *found = await self.run("enqueue", job, *limits, epoch, *words)
        if status == b"missing":
            raise checks.no_job(job)
        if status == b"closed":
            raise checks.refused(job, decoding.text(found[0]), "added to")
        if status == b"deposed":
            raise checks.deposed(job, epoch, found[0])
        if status == b"full":
            raise checks.full(job, decoding.text(found[0]), int(found[1]), int(found[2]))
        return [decoding.task_name(holder) if holder else None for holder in found]

    async def pause(self, job: str) -> None:
        """As JobQueue.pause."""
        await self._set_state(job, "paused")

    async def resume(self, job: str) -> None:
        """As JobQueue.resume."""
        await self._set_state(job, "running")

    async def cancel(self, job: str) -> None:
        """As JobQueue.cancel."""
        await self._set_state(job, "cancelled")
        while await self.run("cancel", job, BATCH):
            pass

    async def delete(self, job: str) -> None:
        """As JobQueue.delete."""
        if (await self.run("state", job, "deleting"))[0] == b"missing":
            return
        for name in ("cancel", "delete"):
            while await self.run(name, job, BATCH):
                pass

    async def _set_state(self, job: str, state: JobState) -> None:
        found = await self.run("state", job, state)
        if found[0] == b"missing":
            raise checks.no_job(job)
        if found[0] == b"refused":
            raise checks.refused(job, decoding.text(found[1]), state)

    async def job(self, job: str) -> JobStatus:
        """As JobQueue.job."""
        found = await self.redis.command("HMGET", self.key("job", job), *decoding.JOB_FIELDS)
        if found[0] is None:
            raise checks.no_job(job)
        return decoding.job_status(job, found)

    async def tasks(self, job: str, tasks: Sequence[str]) -> list[TaskStatus | None]:
        """As JobQueue.tasks."""
        found = await self.run("tasks", job, *tasks) if tasks else []
        return [decoding.task_status(task, values) for task, values in zip(tasks, found, strict=True)]

    async def ended(self, job: str, after: int, limit: int) -> list[Ended]:
        """As JobQueue.ended."""
        return decoding.ended(await self.run("ended", job, after, limit)) if limit > 0 else []

    async def running(self, job: str, limit: int) -> list[InFlight]:
        """As JobQueue.running."""
        return [decoding.in_flight(found) for found in await self.run("running", job, limit)]

    async def speculate(self, job: str, task: str, epoch: int = 0) -> bool:
        """As JobQueue.speculate."""
        status, number = await self.run("speculate", job, task, epoch)
        if status == b"deposed":
            raise checks.deposed(job, epoch, number)
        return bool(number)

    async def events(self, job: str, after: int, wait_s: float = 0.0) -> list[Event]:
        """As JobQueue.events."""
        key = self.key("job", f"{job}:events")
        found = await self.redis.command("XRANGE", key, f"({after}-0", "+", "COUNT", _PAGE)
        if not found and wait_s > 0:
            read = ("XREAD", "COUNT", _PAGE, "BLOCK", max(1, round(wait_s * 1e3)), "STREAMS", key, f"{after}-0")
            found = decoding.first_stream(await self.redis.block(wait_s, *read))
        return [decoding.event(entry) for entry in found]

    async def dead_letters(self, job: str, after: str = "", limit: int = _PAGE) -> list[DeadLetter]:
        """As JobQueue.dead_letters."""
        first = f"({after}" if after else "-"
        found = await self.redis.command("XRANGE", self.key("job", f"{job}:dead"), first, "+", "COUNT", limit)
        return [decoding.dead_letter(entry) for entry in found]

    async def retry_dead(self, job: str, task: str, epoch: int = 0) -> bool:
        """As JobQueue.retry_dead."""
        status, *found = await self.run("retry", job, task, epoch)
        if status == b"missing":
            raise checks.no_task(job, task)
        if status == b"deposed":
            raise checks.deposed(job, epoch, found[0])
        if status == b"refused":
            raise checks.refused(job, decoding.text(found[0]), "retried")
        return bool(status == b"queued")

    async def replies(self, replica: str, wait_s: float) -> list[TaskName]:
        """As JobQueue.replies."""
        key = self.key("reply", replica)
        first = await self.redis.block(wait_s, "BLPOP", key, max(0.001, wait_s))
        if not first:
            return []
        others = await self.redis.command("LPOP", key, _PAGE - 1)
        return [decoding.task_name(member) for member in (first[1], *(others or ()))]
