"""Records of jobs are read once, and kept while they are needed."""

from __future__ import annotations

from dataclasses import replace

from modelyard import codec
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.queue import Written
from modelyard.queue.memory import MemoryQueue
from modelyard_worker.jobs.records import Records
from tests.pulling import submit


async def become(queue: MemoryQueue, state: JobState) -> None:
    """Write another state into the record of job j."""
    held = await queue.record("j")
    job = replace(codec.decode(Job, held.record), state=state)
    keep_s = 100.0 if job.ended else None
    assert await queue.change("j", Written(codec.encode(job), state, keep_s=keep_s), held.revision)


async def state(records: Records) -> JobState | None:
    async with records.of("j") as job:
        return job.state if job else None


async def test_a_record_is_kept_while_a_claim_of_its_job_is_worked_on() -> None:
    queue = MemoryQueue()
    records = Records(queue)
    await submit(queue, "wait")
    async with records.of("j"):
        async with records.of("j"):
            await become(queue, JobState.PAUSED)
            assert await state(records) is JobState.RUNNING
        assert await state(records) is JobState.RUNNING
    assert await state(records) is JobState.PAUSED


async def test_that_a_job_has_ended_is_not_kept() -> None:
    queue = MemoryQueue()
    records = Records(queue)
    await submit(queue, "wait")
    await become(queue, JobState.PARTIALLY_SUCCEEDED)
    async with records.of("j") as job:
        assert job is not None
        await become(queue, JobState.RUNNING)
        assert await state(records) is JobState.RUNNING


async def test_a_job_that_is_gone_or_cannot_be_understood_is_none() -> None:
    queue = MemoryQueue()
    records = Records(queue)
    assert await state(records) is None
    await submit(queue, "wait")
    held = await queue.record("j")
    await queue.change("j", Written(b'{"id": 1}', "RUNNING"), held.revision)
    assert await state(records) is None
