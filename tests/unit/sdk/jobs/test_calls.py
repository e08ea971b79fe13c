from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import (
    AlreadyExistsError,
    DeadlineError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from modelyard.jobs.job import EventKind, Job, JobEvent
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fakes import FakeSuite
from tests.waiting import eventually

X = {"x": np.zeros((2, 4), np.float32)}


async def submitted(client: Client, count: int = 1) -> list[Job]:
    return [await client.jobs.submit("digits", X) for _ in range(count)]


def away() -> UnavailableError:
    return UnavailableError("away", retry_after_s=0.01)


async def test_a_submission_that_may_have_been_accepted_is_repeated_and_makes_one_job(
    digits: FakeSuite, client: Client
) -> None:
    digits.jobs.failures = {"SubmitJob": [away()], "accepted": [away(), away()]}
    job = await client.jobs.submit("digits@1", X, JobOptions(priority=0, format="NPY"))
    assert digits.jobs.calls["SubmitJob"] == 4
    assert list(digits.jobs.jobs) == [job.id]
    assert (job.tenant, job.state, job.progress.counted) == ("acme", JobState.QUEUED, False)
    assert (job.spec.priority, job.spec.inference.version) == (0, "1")
    assert digits.jobs.tenants == {"acme"}
    assert len(await client.jobs.list()) == 1
    await submitted(client)
    assert len(await client.jobs.list()) == 2


async def test_a_request_id_names_a_submission(digits: FakeSuite, client: Client) -> None:
    options = JobOptions(request_id="nightly-1")
    assert await client.jobs.submit("digits", X, options) == await client.jobs.submit("digits", X, options)
    with pytest.raises(AlreadyExistsError):
        await client.jobs.submit("digits@2", X, options)
    digits.jobs.failures["SubmitJob"] = [ExhaustedError("as much as it may")]
    with pytest.raises(ExhaustedError, match="as much as it may"):
        await client.jobs.submit("digits", X)


async def test_jobs_are_listed_page_by_page(digits: FakeSuite, client: Client) -> None:
    jobs = await submitted(client, 5)
    assert [job.id for job in await client.jobs.list()] == [job.id for job in reversed(jobs)]
    assert [job.id for job in await client.jobs.list(limit=3)] == ["job-5", "job-4", "job-3"]
    await client.jobs.pause(jobs[1])
    paused = await client.jobs.list(states={JobState.PAUSED}, model="digits", tenant="acme", limit=0)
    assert [job.id for job in paused] == ["job-2"]
    asked = digits.jobs.requests[-1]
    assert (list(asked.states), asked.model, asked.tenant) == ([pb.Job.PAUSED], "digits", "acme")


async def test_a_job_is_changed_by_itself_or_by_its_id(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    assert (await client.jobs.pause(job)).state is JobState.PAUSED
    assert (await client.jobs.resume(job.id)).state is JobState.RUNNING
    digits.jobs.failures["CancelJob"] = [away()]
    assert (await client.jobs.cancel(job)).state is JobState.CANCELLING
    assert (await client.jobs.get(job.id)).state is JobState.CANCELLING
    for call in (client.jobs.get, client.jobs.cancel, client.jobs.dead_letters, client.jobs.retry_dead_letters):
        with pytest.raises(NotFoundError):
            await call("absent")


async def test_dead_letters_are_listed_and_retried(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    digits.jobs.letters += [pb.DeadLetter(task=f"r{n}-{n + 1}", row=n, reason="odd", failures=3) for n in range(5)]
    letters = await client.jobs.dead_letters(job)
    assert [(letter.row, letter.reason, letter.failures) for letter in letters] == [(n, "odd", 3) for n in range(5)]
    assert [letter.row for letter in await client.jobs.dead_letters(job, limit=3)] == [0, 1, 2]
    assert await client.jobs.retry_dead_letters(job, ["r1-2"]) == 1
    assert digits.jobs.retried == ["r1-2"]


async def watched(client: Client, job: Job, after: int = 0) -> list[JobEvent]:
    async with contextlib.aclosing(client.jobs.watch(job, after)) as events:
        return [event async for event in events]


async def test_a_watch_goes_on_from_the_last_event(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    digits.jobs.tell("SNAPSHOT", "RUNNING", rows=10)
    digits.jobs.tell_task("TASK_STARTED", "r0-5", worker="w1")
    digits.jobs.tell_task("TASK_RETRY", "r0-5", reason="odd")
    digits.jobs.end(done_rows=10)
    digits.jobs.failures = {"told": [away() for _ in range(4)], "WatchJob": [away()]}
    events = await watched(client, job)
    assert [event.event for event in events] == [1, 2, 3, 4]
    assert [event.kind for event in events][:2] == [EventKind.SNAPSHOT, EventKind.TASK_STARTED]
    assert events[2].task
    assert (events[2].task.id, events[2].task.reason) == ("r0-5", "odd")
    assert events[-1].job
    assert events[-1].job.state is JobState.SUCCEEDED
    asked = [r.after_event for r in digits.jobs.requests if isinstance(r, pb.WatchJobRequest)]
    assert asked == [0, 1, 2, 3]
    assert [event.event for event in await watched(client, job, after=2)] == [3, 4]


async def test_a_watch_from_the_end_of_a_job_has_nothing_to_tell(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    digits.jobs.end()
    assert len(await watched(client, job)) == 1
    assert await watched(client, job, after=1) == []
    assert digits.jobs.calls["WatchJob"] == 2


async def test_a_watch_that_ends_before_its_job_is_taken_up_again(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    digits.jobs.tell("SNAPSHOT", "RUNNING")
    watch = asyncio.create_task(watched(client, job))
    await eventually(lambda: digits.jobs.calls["WatchJob"] > 2)
    digits.jobs.end()
    assert [event.event for event in await watch] == [1, 2]


async def test_other_failures_are_the_watchers(digits: FakeSuite, client: Client) -> None:
    with pytest.raises(NotFoundError):
        await watched(client, Job("absent", "acme", (await submitted(client))[0].spec))
    async with Client(digits.address, timeout_s=0.2) as hasty:
        (job,) = await submitted(client)
        digits.jobs.failures["WatchJob"] = [away() for _ in range(100)]
        with pytest.raises(UnavailableError):
            await watched(hasty, job)


async def test_waiting_for_a_job_ends_with_it_or_in_time(digits: FakeSuite, client: Client) -> None:
    (job,) = await submitted(client)
    digits.jobs.tell("SNAPSHOT", "RUNNING")
    digits.jobs.silent = True
    with pytest.raises(DeadlineError, match=r"job job-1: has not ended within 0\.1 s"):
        await client.jobs.wait(job, timeout_s=0.1)
    with pytest.raises(InvalidInputError, match="timeout_s: expected a finite number"):
        await client.jobs.wait(job, timeout_s=0)
    digits.jobs.end("FAILED", "its data does not do")
    failed = await client.jobs.wait(job.id, timeout_s=20)
    assert (failed.state, failed.reason) == (JobState.FAILED, "its data does not do")
    with pytest.raises(PreconditionError):
        await client.jobs.cancel(job)
