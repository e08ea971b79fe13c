from __future__ import annotations

import pytest

from modelyard.errors import ExhaustedError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.jobs.job import DeadLetter, Progress
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome
from modelyard_scheduler.jobs.api import dead_letters as letters
from modelyard_scheduler.jobs.api.dead_letters import MOST_RETRIED
from tests.unit.scheduler.jobs.accepted import Desk


async def given_up(desk: Desk, rows: int = 3) -> str:
    """A job of tasks of two rows, all of them dead letters."""
    job = (await desk.submit()).id
    await desk.becomes(job, state=JobState.RUNNING, start_time_s=1.0)
    await desk.plan(job, Plan(2 * rows, (Segment(0, 2 * rows, 2),)))
    for _ in range(rows):
        claim = await desk.claim(await desk.jobs.get(job))
        await desk.queue.fail(claim, f"{claim.task} raised", retryable=False)
    await desk.becomes(job, state=JobState.PARTIALLY_SUCCEEDED, progress=Progress(2 * rows, 0, 2 * rows))
    return job


async def test_pages_have_every_letter_once_oldest_first() -> None:
    desk = Desk()
    job = await given_up(desk)
    first, token = await desk.letters.page(job, 2)
    second, end = await desk.letters.page(job, 2, token)
    names = ["r0-2", "r2-4", "r4-6"]
    assert [*first, *second] == [DeadLetter(name, -1, f"{name} raised", 1, 0) for name in names]
    assert (len(first), end) == (2, "")
    assert len((await desk.letters.page(job, 3))[0]) == 3
    assert (await desk.letters.page(job, 3))[1] == ""


async def test_a_row_that_is_alone_is_told_by_its_number() -> None:
    desk = Desk()
    job = (await desk.submit()).id
    await desk.plan(job, Plan(1, (Segment(0, 1, 1),)))
    claim = await desk.claim(await desk.jobs.get(job))
    await desk.queue.fail(claim, "it raised", retryable=False)
    assert [letter.row for letter in (await desk.letters.page(job))[0]] == [0]


async def test_pages_that_are_none() -> None:
    desk = Desk()
    with pytest.raises(NotFoundError, match="no job job-9"):
        await desk.letters.page("job-9")
    job = (await desk.submit()).id
    assert await desk.letters.page(job) == ([], "")
    for size, token in ((-1, ""), (1, "x"), (1, "1-"), (1, f"{1 << 64}-0")):
        with pytest.raises(InvalidInputError, match="page_"):
            await desk.letters.page(job, size, token)


async def test_to_retry_all_is_a_wish() -> None:
    desk = Desk()
    job = await given_up(desk)
    assert await desk.letters.retry(job) == 3
    found = await desk.jobs.get(job)
    assert (found.state, found.retrying) == (JobState.RUNNING, ("r0-2", "r2-4", "r4-6"))
    assert found.progress.dead_rows == 0
    assert len((await desk.letters.page(job))[0]) == 3  # the leader has not queued them yet


async def test_to_retry_the_same_again_is_one_wish() -> None:
    desk = Desk()
    job = await given_up(desk)
    assert await desk.letters.retry(job, ["r2-4"]) == 1
    assert await desk.letters.retry(job, ["r2-4", "r0-2", "r0-2"]) == 2
    found = await desk.jobs.get(job)
    assert (found.retrying, found.progress.dead_rows) == (("r2-4", "r0-2"), 2)


async def test_what_is_executed_again_already_is_left_to_that() -> None:
    desk = Desk()
    job = await given_up(desk)
    await desk.letters.retry(job, ["r0-2"])
    await desk.queue.retry_dead(job, "r0-2")
    await desk.becomes(job, retrying=())
    before = await desk.jobs.get(job)
    assert await desk.letters.retry(job, ["r0-2"]) == 0
    await desk.finish(await desk.claim(before), Outcome(1.0, "w"))
    assert await desk.letters.retry(job, ["r0-2"]) == 0
    assert await desk.jobs.get(job) == before
    assert await desk.letters.retry(job, ["r0-2", "r2-4"]) == 1
    assert (await desk.jobs.get(job)).retrying == ("r2-4",)


async def test_no_more_wait_to_be_retried_than_a_record_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    job = await given_up(desk)
    monkeypatch.setattr(letters, "MOST_RETRIED", 2)
    assert await desk.letters.retry(job, ["r0-2", "r2-4"]) == 2
    before = await desk.jobs.get(job)
    with pytest.raises(ExhaustedError, match="2 dead letters wait to be retried, at most 2 can"):
        await desk.letters.retry(job, ["r4-6"])
    assert await desk.jobs.get(job) == before


async def test_of_very_many_some_are_retried_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    job = await given_up(desk, 5)
    monkeypatch.setattr(letters, "MAX_PAGE", 2)
    monkeypatch.setattr(letters, "MOST_RETRIED", 3)
    assert await desk.letters.retry(job) == 3
    assert (await desk.jobs.get(job)).retrying == ("r0-2", "r2-4", "r4-6")


async def test_what_cannot_be_retried() -> None:
    desk = Desk()
    with pytest.raises(NotFoundError, match="no job job-9"):
        await desk.letters.retry("job-9")
    job = await given_up(desk)
    before = await desk.jobs.get(job)
    for name in ("r6-8", "r0-1"):
        with pytest.raises(NotFoundError, match=f"no dead letter of task {name}"):
            await desk.letters.retry(job, ["r0-2", name])
    with pytest.raises(InvalidInputError, match="tasks: expected at most 10000"):
        await desk.letters.retry(job, ["r0-2"] * (MOST_RETRIED + 1))
    assert await desk.jobs.get(job) == before


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED, JobState.FINISHING])
async def test_of_a_job_that_is_over_nothing_is_retried(state: JobState) -> None:
    desk = Desk()
    job = await given_up(desk)
    await desk.becomes(job, state=state)
    with pytest.raises(PreconditionError, match=f"to retry its dead letters, it is {state}"):
        await desk.letters.retry(job)


async def test_where_there_are_none_nothing_changes() -> None:
    desk = Desk()
    job = (await desk.submit()).id
    assert await desk.letters.retry(job) == 0
    assert (await desk.jobs.get(job)).state is JobState.QUEUED
