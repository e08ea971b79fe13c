from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import AbortedError, DataLossError, ExhaustedError, NotFoundError
from modelyard.jobs.job import Job, Progress
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.states import ENDED, JobState
from modelyard.queue import Caps, RetryPolicy, Written
from modelyard.queue.memory import MemoryQueue
from modelyard_scheduler.jobs.records import KEEP_S, Records, queue_job
from tests.unit.jobs.submitted import job

PLAN = Plan(100, (Segment(0, 64, 64),))


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue(lambda: 5.0)


@pytest.fixture
def records(queue: MemoryQueue) -> Records:
    return Records(queue, Caps(jobs=2))


async def test_a_job_is_read_as_it_was_submitted_and_written(records: Records) -> None:
    held = await records.submit(job())
    assert (held.job, held.plan, held.revision, held.epoch) == (job(), None, 1, 0)
    planned = await records.write(held, job(JobState.RUNNING), PLAN, epoch=7)
    assert planned
    assert await records.read("job-1") == planned
    assert (planned.job.state, planned.plan, planned.revision, planned.epoch) == (JobState.RUNNING, PLAN, 2, 7)
    later = await records.write(planned, job(JobState.RUNNING, Progress(100)))
    assert later
    assert later.plan == PLAN
    assert await records.read("job-1") == later


async def test_to_submit_it_again_finds_it_as_it_is(records: Records) -> None:
    held = await records.submit(job())
    await records.write(held, job(JobState.PAUSED))
    assert (await records.submit(job())).job.state is JobState.PAUSED


async def test_who_was_slower_writes_nothing(records: Records) -> None:
    held = await records.submit(job())
    await records.write(held, job(JobState.PAUSED))
    assert await records.write(held, job(JobState.CANCELLING)) is None
    assert (await records.read("job-1")).job.state is JobState.PAUSED


async def test_a_leader_that_was_deposed_hears_so(records: Records) -> None:
    held = await records.submit(job())
    held = await records.write(held, job(JobState.PLANNING), epoch=9) or held
    with pytest.raises(AbortedError, match="another one leads"):
        await records.write(held, job(JobState.RUNNING), epoch=8)


async def test_a_change_is_made_of_what_others_have_written_meanwhile(records: Records) -> None:
    held = await records.submit(job())
    seen: list[JobState] = []

    def pause(found: Job) -> Job:
        seen.append(found.state)
        return replace(found, reason="so")

    class Slow(Records):
        async def read(self, name: str) -> object:  # type: ignore[override]
            found = await super().read(name)
            if not seen:
                await records.write(held, job(JobState.PLANNING))
            return found

    slow = Slow(records._queue, Caps())
    changed = await slow.change("job-1", pause)
    assert seen == [JobState.QUEUED, JobState.PLANNING]
    assert (changed.job.state, changed.job.reason, changed.revision) == (JobState.PLANNING, "so", 3)


async def test_a_change_of_nothing_writes_nothing(records: Records) -> None:
    await records.submit(job())
    assert (await records.change("job-1", lambda found: found)).revision == 1


@pytest.mark.parametrize("state", JobState)
async def test_what_has_ended_is_kept_for_a_while(records: Records, queue: MemoryQueue, state: JobState) -> None:
    held = await records.submit(job())
    await records.write(held, job(state))
    record = queue.jobs["job-1"].record
    assert record
    assert record.due_s == (5.0 + KEEP_S if state in ENDED else None)


async def test_several_are_read_without_plans_and_without_those_that_are_not_there(
    records: Records, queue: MemoryQueue
) -> None:
    held = await records.submit(job())
    await records.write(held, job(), PLAN)
    await queue.submit(queue_job(replace(job(), id="later")), Written(b'{"other": 1}', "QUEUED"), Caps())
    [found] = await records.read_all(["gone", "job-1", "later"])
    assert (found.job, found.plan, found.revision) == (job(), None, 2)


async def test_what_is_unknown_or_not_understood(records: Records, queue: MemoryQueue) -> None:
    with pytest.raises(NotFoundError, match="no job gone"):
        await records.read("gone")
    await queue.submit(queue_job(job()), Written(b"[]", "QUEUED"), Caps())
    with pytest.raises(DataLossError, match="job job-1: its record is not understood"):
        await records.read("job-1")


async def test_a_tenant_has_no_more_jobs_than_it_may(records: Records) -> None:
    for name in ("a", "b"):
        await records.submit(replace(job(), id=name))
    with pytest.raises(ExhaustedError, match="2 jobs that have not ended, at most 2") as refused:
        await records.submit(replace(job(), id="c"))
    assert refused.value.retry_after_s


def test_what_the_queue_is_told() -> None:
    told = queue_job(job(priority=3, max_attempts=4))
    assert (told.id, told.model, told.tenant, told.priority) == ("job-1", "digits@1", "default", 3)
    assert told.retry == RetryPolicy(4, 9, 1.0, 60.0)
