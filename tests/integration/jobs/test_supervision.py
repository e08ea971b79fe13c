"""A leader's term over jobs on a real Redis and a real etcd, with its own loops and clocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from modelyard.etcd import Etcd
from modelyard.jobs import lifecycle
from modelyard.jobs.states import JobState
from modelyard.redis import Redis
from modelyard.tasks import background
from tests.servers import ProgramServer
from tests.unit.scheduler.jobs.term import Stage
from tests.waiting import eventually


@pytest.fixture
async def stage(etcd: Etcd, redis_server: ProgramServer) -> AsyncIterator[Stage]:
    """A cluster on a Redis that is empty."""
    redis = Redis(redis_server.endpoint)
    await redis.command("FLUSHALL")
    made = Stage(etcd, redis=redis)
    await made.publish()
    yield made
    await redis.close()


async def execute(stage: Stage, worker: str) -> None:
    """What a worker does, until it is cancelled."""
    while True:
        if not await stage.work(worker):
            await stage.queue.wait(["digits@1"], 0.2)


def is_cleared(stage: Stage) -> Callable[[], Awaitable[bool]]:
    async def cleared() -> bool:
        return not await stage.queue.active()

    return cleared


async def test_a_job_is_executed_by_a_leader_that_is_woken(stage: Stage) -> None:
    stage.reader.rows = 5000
    await stage.submit()
    leader = await stage.lead()
    works = leader.supervision.run(leader.context.term), execute(stage, "w1"), execute(stage, "w2")
    async with background(*works):
        await eventually(is_cleared(stage))
    job, found = await stage.job(), await stage.harvest()
    assert (job.state, job.progress.done_rows) == (JobState.SUCCEEDED, 5000)
    assert sum(task.rows for task, _ in found.done) == 5000
    assert stage.figures.states == {}


async def test_leaders_that_follow_each_other_lose_nothing(stage: Stage) -> None:
    stage.reader.rows = 3000
    await stage.submit()
    async with background(execute(stage, "w1")):
        for effects in (2, 3, 4):  # a job takes more, so that none of them sees its end
            leader = await stage.lead(effects)
            async with background(leader.supervision.run(leader.context.term)):
                await eventually(lambda leaving=leader.leaving: leaving.left <= 0)  # type: ignore[misc]
        leader = await stage.lead()
        async with background(leader.supervision.run(leader.context.term)):
            await eventually(is_cleared(stage))
    assert (await stage.job()).state is JobState.SUCCEEDED
    assert sum(task.rows for task, _ in (await stage.harvest()).done) == 3000


async def test_a_redis_that_has_epochs_of_another_etcd(stage: Stage) -> None:
    held = await stage.submit()
    await stage.records.write(held, held.job, None, epoch=1 << 40)
    for number in range(2):
        leader = await stage.lead()
        async with background(leader.supervision.run(leader.context.term), execute(stage, "w1")):
            await eventually(is_cleared(stage))
            assert (await stage.records.read(f"job-{number + 1}")).epoch > 1 << 40
            await stage.submit(f"job-{number + 2}")
            await eventually(is_cleared(stage))
    assert (await stage.job("job-3")).state is JobState.SUCCEEDED


async def test_a_job_is_cancelled_on_redis(stage: Stage) -> None:
    stage.reader.rows = 1_000_000
    await stage.submit()
    leader = await stage.lead()

    async def has_results() -> bool:
        return (await stage.job()).progress.done_rows > 0

    async with background(leader.supervision.run(leader.context.term), execute(stage, "w1")):
        await eventually(has_results)
        await stage.records.change("job-1", lambda job: lifecycle.cancel(job, 1.0))
        await eventually(is_cleared(stage))
    job = await stage.job()
    assert job.state is JobState.CANCELLED
    assert sum(task.rows for task, _ in (await stage.harvest()).done) == job.progress.done_rows > 0
