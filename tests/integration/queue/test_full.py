"""Redis at maxmemory: what runs goes on, what is new is refused, and that before it is too late."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.errors import ExhaustedError
from modelyard.queue import Claim, Counts, Job, RedisQueue, Task, TaskName, Written
from modelyard.redis import Redis
from tests.queues import CAPS, LEASE_S, MODEL, claimed, opened

FULL = b"x" * 60_000


async def fill(redis: Redis) -> None:
    """Let Redis be full: what comes now would need more than there is."""
    used = int((await redis.command("INFO", "memory"))["used_memory"])
    await redis.command("CONFIG", "SET", "maxmemory", used + 300_000)
    with pytest.raises(ExhaustedError):
        await asyncio.gather(*(redis.command("SET", f"filler-{number}", FULL) for number in range(20)))
    await redis.command("CONFIG", "SET", "maxmemory", used)


async def test_when_redis_is_full_work_goes_on_and_no_more_is_taken(own: Redis) -> None:
    queue = RedisQueue(own)
    await opened(queue, tasks=0)
    await queue.enqueue("j", [Task(str(number), reply="r") for number in range(8)], CAPS)
    await opened(queue, "other", 3, priority=9)
    await queue.submit(Job("recorded", "other@1", "t"), Written(b"new", "QUEUED"), CAPS)
    await queue.enqueue("recorded", [Task("slow", dedupe="slow")], CAPS, 5)
    slow = await queue.fetch("slow", ["other@1"])
    done, failed, gone, released = [await claimed(queue, worker) for worker in ("w", "w", "dead", "w")]
    await fill(own)
    with pytest.raises(ExhaustedError, match="full") as raised:
        await queue.enqueue("j", [Task("more")], CAPS)
    assert raised.value.retry_after_s
    assert isinstance(slow, Claim)
    assert await queue.speculate("recorded", "slow", 5)
    assert await queue.enqueue("recorded", [Task("more", b"x" * 5000, dedupe="more")], CAPS, 5) == [None]
    for call in (queue.enqueue("recorded", [Task("other")], CAPS), queue.open(Job("other-2", MODEL, "t"))):
        with pytest.raises(ExhaustedError, match="full"):
            await call
    twin = await queue.fetch("w", ["other@1"])
    assert isinstance(twin, Claim)
    assert (twin.task, await queue.finish(twin, b"ref"), await queue.finish(slow, b"")) == ("slow", True, False)
    dead = await queue.fetch("w", ["other@1"])
    assert isinstance(dead, Claim)
    assert (await queue.fail(dead, "odd", retryable=False)).ending == "dead"
    assert await queue.retry_dead("recorded", "more", 5)
    assert [one.status.task for one in await queue.ended("recorded", 0, 9)] == ["slow", "more"]
    assert await queue.extend("w", [done, failed]) == []
    assert await queue.finish(done, b"ref")
    assert (await queue.fail(failed, "odd")).ending == "retry"
    assert [one.task for one in await queue.recover_from("dead")] == [gone.task]
    assert await queue.recover(LEASE_S) == []
    assert await queue.release(released)
    assert await queue.lost(await claimed(queue))
    assert await queue.finish(await claimed(queue), b"ref")
    assert (await queue.fail(await claimed(queue), "bad", retryable=False)).ending == "dead"
    await queue.pause("j")
    await queue.resume("j")
    assert await queue.replies("r", 5) == [TaskName("j", task) for task in (done.task, gone.task, released.task)]
    await queue.cancel("j")
    await queue.delete("other")
    assert (await queue.job("j")).counts == Counts(done=2, dead=1, cancelled=5)
    assert await queue.change("recorded", Written(b"end", "FAILED", keep_s=1), 1, 7) == 2
    await queue.clear("recorded")
    assert (await queue.job("recorded")).counts == Counts(done=1, cancelled=1)
    with pytest.raises(ExhaustedError):
        await opened(queue, "another", 0)
    with pytest.raises(ExhaustedError):
        await queue.submit(Job("another", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    assert [one.job for one in await queue.listed()] == ["recorded"]


async def test_jobs_are_refused_before_redis_is_full_so_that_those_that_run_find_room(own: Redis) -> None:
    queue, written = RedisQueue(own), Written(b"new", "QUEUED")
    await queue.submit(Job("runs", MODEL, "t"), written, CAPS)
    used = int((await own.command("INFO", "memory"))["used_memory"])
    await own.command("CONFIG", "SET", "maxmemory", int(used / 0.95))
    with pytest.raises(ExhaustedError, match=r"job more: redis is nearly full, \d+ of \d+ bytes") as raised:
        await queue.submit(Job("more", MODEL, "t"), written, CAPS)
    assert raised.value.retry_after_s
    assert (await queue.submit(Job("runs", MODEL, "t"), written, CAPS)).revision == 1
    assert await queue.enqueue("runs", [Task("0")], CAPS, 5) == [None]
    await own.command("CONFIG", "SET", "maxmemory", 2 * used)
    assert (await queue.submit(Job("more", MODEL, "t"), written, CAPS)).revision == 1
