"""What jobs leave in Redis."""

from __future__ import annotations

import pytest

from modelyard.queue import Counts, Job, RedisQueue, Task, Written
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis
from tests.queues import CAPS, LEASE_S, MODEL, claimed, keys_of, opened

NEWS = f"{PREFIX}reply:"
"""For whoever leads: it goes when it is read, or after an hour."""


async def live_through(queue: RedisQueue, number: int) -> None:
    """One job with a bit of everything, in state `number` of six, then deleted; every other one has a record."""
    job, tenant = f"job-{number}", f"tenant-{number % 3}"
    if number % 4 < 2:
        await queue.submit(Job(job, MODEL, tenant, number % 10), Written(b"new", "QUEUED", b"plan"), CAPS)
        await queue.enqueue(job, [Task(task) for task in "012"], CAPS, number + 1)
    else:
        await opened(queue, job, 3, tenant, number % 10)
    await queue.enqueue(job, [Task("d", dedupe=f"key-{number}")], CAPS)
    claims = [await claimed(queue) for _ in range(number % 5)]
    for at, claim in enumerate(claims[:3]):
        await (queue.fail(claim, "odd", retryable=number % 7 > 0) if at else queue.finish(claim, b"end"))
    if number % 2:
        await queue.speculate(job, "2")
        await queue.recover(LEASE_S)
    if number % 3 == 1:
        await queue.pause(job)
        await queue.fetch("w", [MODEL])
    if number % 3 == 2:
        await queue.cancel(job)
    if number % 4 == 0:
        await queue.change(job, Written(b"end", "CANCELLED", keep_s=0), 1, number + 1)
        await queue.clear(job)
        assert await queue.expire() == [job]
    await queue.delete(job)


@pytest.mark.parametrize("jobs", [60, pytest.param(1000, marks=pytest.mark.chaos)])
async def test_a_deleted_job_leaves_nothing(redis: Redis, jobs: int) -> None:
    queue = RedisQueue(redis)
    await opened(queue, "stays", 0)
    before = await keys_of(redis)
    for number in range(jobs):
        await live_through(queue, number)
    after = await keys_of(redis)
    print(f"keys before {jobs} jobs: {len(before)}, after: {len(after)}")
    assert after - {f"{PREFIX}sweep", NEWS} == before
    passing = [NEWS, *await redis.command("KEYS", "*fetched:*")]
    assert all([await redis.command("TTL", key) > 0 for key in passing])


async def test_a_cleared_job_keeps_its_record_its_events_and_what_can_be_retried(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await queue.submit(Job("j", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    await queue.enqueue("j", [Task(str(number), dedupe=f"k{number}") for number in range(700)], CAPS)
    for number in range(20):
        claim = await claimed(queue)
        await (queue.fail(claim, "odd", retryable=False) if number % 10 == 3 else queue.finish(claim, b"ref"))
    await queue.cancel("j")
    await queue.change("j", Written(b"end", "CANCELLED", keep_s=60), 1)
    await queue.clear("j")
    own = [f"job:j{part}" for part in ("", ":events", ":dead", ":closed")]
    letters = {"task:j/3", "task:j/13", "dedupe:t:k3", "dedupe:t:k13", "load:t", "tenants"}
    kept = {*own, *letters, "jobs", "jobs:t", "expiring"}
    assert await keys_of(redis) - {NEWS} == {PREFIX + key for key in kept}
    assert (await queue.job("j")).counts == Counts(done=18, dead=2, cancelled=680)
    await queue.delete("j")
    assert await keys_of(redis) == {NEWS}
    assert await redis.command("TTL", NEWS) > 0


async def test_finished_tasks_leave_their_stream(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await opened(queue, tasks=20)
    for _ in range(20):
        await queue.finish(await claimed(queue), b"ref")
    lane_keys = [key for key in await keys_of(redis) if not key.startswith((f"{PREFIX}job:", f"{PREFIX}task:"))]
    assert lane_keys == []
    assert await redis.command("HEXISTS", f"{PREFIX}task:j/0", "payload") == 0
