from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError, UnavailableError
from modelyard.jobs import lifecycle
from modelyard.jobs.job import Job
from modelyard.jobs.listing import JobFilter
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.states import Actor, JobState, targets
from modelyard.queue import Listed
from modelyard_scheduler.jobs.api import service
from modelyard_scheduler.jobs.api.service import Jobs
from tests.unit.jobs.submitted import job
from tests.unit.scheduler.jobs.accepted import Desk

METHODS: dict[JobState, tuple[Callable[[Jobs, str], Awaitable[Job]], Callable[[Job, float], Job]]] = {
    JobState.PAUSED: (Jobs.pause, lifecycle.pause),
    JobState.RUNNING: (Jobs.resume, lifecycle.resume),
    JobState.CANCELLING: (Jobs.cancel, lifecycle.cancel),
}


async def test_an_unknown_job() -> None:
    jobs = Desk().jobs
    for method in (jobs.get, jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(NotFoundError, match="no job job-9"):
            await method("job-9")
        with pytest.raises(InvalidInputError, match="job name"):
            await method("job-9:events")


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("method", METHODS)
async def test_wishes_follow_the_table(state: JobState, method: JobState) -> None:
    desk = Desk()
    call, wish = METHODS[method]
    before = job(state)
    await desk.records.submit(before)
    expected = outcome(wish, before)
    assert await told(call(desk.jobs, before.id)) == expected
    assert await desk.jobs.get(before.id) == (expected if isinstance(expected, Job) else before)
    if isinstance(expected, Job):
        assert expected == before or expected.state in targets(state, Actor.OWNER)


def outcome(wish: Callable[[Job, float], Job], before: Job) -> Job | str:
    """What a wish makes of a job, or why nothing."""
    try:
        return wish(before, 1000.0)
    except PreconditionError as error:
        return error.message


async def told(call: Awaitable[Job]) -> Job | str:
    """What a call answers, or why nothing."""
    try:
        return await call
    except PreconditionError as error:
        return error.message


async def test_the_queue_follows_at_once() -> None:
    desk = Desk()
    name = (await desk.submit()).id
    await desk.becomes(name, state=JobState.RUNNING, start_time_s=1.0)
    await desk.plan(name, Plan(20, (Segment(0, 20, 10),)))
    await desk.jobs.pause(name)
    assert (await desk.queue.job(name)).state == "paused"
    await desk.jobs.resume(name)
    assert (await desk.queue.job(name)).state == "running"
    await desk.jobs.cancel(name)
    found = await desk.queue.job(name)
    assert (found.state, found.counts.cancelled) == ("cancelled", 2)


@pytest.mark.parametrize("error", [UnavailableError("redis: away"), PreconditionError("cancelled by somebody")])
async def test_a_wish_that_is_written_is_answered_even_if_the_queue_does_not_follow(error: Exception) -> None:
    desk = Desk()
    name = (await desk.submit()).id

    async def fail(job: str) -> None:
        raise error

    desk.queue.pause = fail  # type: ignore[method-assign]
    assert (await desk.jobs.pause(name)).state is JobState.PAUSED
    assert (await desk.jobs.get(name)).state is JobState.PAUSED


async def pages(desk: Desk, wanted: JobFilter, size: int) -> list[list[str]]:
    found, token = await desk.jobs.page(wanted, size)
    told = [[job.id for job in found]]
    while token:
        found, token = await desk.jobs.page(wanted, size, token)
        told.append([job.id for job in found])
    return told


async def three(desk: Desk) -> list[str]:
    """Jobs of acme, acme and other, oldest first; the second is PAUSED."""
    found = [await desk.submit("a"), await desk.submit("b"), await desk.submit("c", tenant="other")]
    await desk.jobs.pause(found[1].id)
    return [one.id for one in found]


async def test_pages_have_every_job_once_newest_first() -> None:
    desk = Desk()
    a, b, c = await three(desk)
    assert await pages(desk, JobFilter(), 1) == [[c], [b], [a]]
    assert await pages(desk, JobFilter(), 2) == [[c, b], [a]]
    assert await pages(desk, JobFilter(), 3) == [[c, b, a]]
    assert await pages(desk, JobFilter(), 0) == [[c, b, a]]


async def test_no_more_records_are_read_than_a_page_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, read = Desk(), list[int]()
    listed = desk.queue.listed

    async def counted(tenant: str, below: int, count: int) -> Sequence[Listed]:
        read.append(count)
        return await listed(tenant, below, count)

    monkeypatch.setattr(desk.queue, "listed", counted)
    await three(desk)
    await desk.jobs.page(JobFilter(), 1)
    await desk.jobs.page(JobFilter(frozenset({JobState.CANCELLED})), 1)
    assert read == [2, 2, service._SCAN]


async def test_jobs_that_are_wanted() -> None:
    desk = Desk()
    a, b, c = await three(desk)
    assert await pages(desk, JobFilter(frozenset({JobState.QUEUED})), 1) == [[c], [a]]
    assert await pages(desk, JobFilter(frozenset({JobState.PAUSED})), 9) == [[b]]
    assert await pages(desk, JobFilter(tenant="acme"), 1) == [[b], [a]]
    assert await pages(desk, JobFilter(model="other"), 9) == [[]]


async def test_a_page_looks_at_so_many_and_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    a, _, _ = await three(desk)
    await desk.submit("d", tenant="other")
    monkeypatch.setattr(service, "MOST_LOOKED_AT", 1)
    monkeypatch.setattr(service, "_SCAN", 1)
    found = await pages(desk, JobFilter(frozenset({JobState.QUEUED}), tenant="acme"), 5)
    assert [one for page in found for one in page] == [a]
    assert len(found) == 3


async def test_pages_that_are_none() -> None:
    jobs = Desk().jobs
    with pytest.raises(InvalidInputError, match="page_size: expected 0 to 1000, got -1"):
        await jobs.page(JobFilter(), -1)
    with pytest.raises(InvalidInputError, match="page_token"):
        await jobs.page(JobFilter(), 1, "x")
    assert await jobs.page(JobFilter(), 2000) == ([], "")
