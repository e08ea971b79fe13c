"""What only a real Redis shows: full memory, absence, and what survives a kill."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from modelyard.errors import ExhaustedError, UnavailableError
from modelyard.queue import Claim, Counts, Idle, Job, RedisQueue, Task, TaskName, Written
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis
from tests.queues import CAPS, LEASE_S, MODEL, claimed, opened
from tests.servers import ProgramServer, new_redis

FULL = b"x" * 60_000
T = TypeVar("T")


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[ProgramServer]:
    """A Redis of the test's own, to be killed."""
    server = new_redis(tmp_path)
    server.start()
    await server.wait_ready()
    yield server
    server.close()


@pytest.fixture
async def own(own_redis: ProgramServer) -> AsyncIterator[Redis]:
    client = Redis(own_redis.endpoint)
    yield client
    await client.close()


async def test_extending_does_not_count_as_a_delivery(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await opened(queue)
    claim = await claimed(queue)
    for _ in range(3):
        await queue.extend("w", [claim])
    source = "return redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 10)"
    digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    pending = await redis.evaluate(source, digest, f"{PREFIX}tasks:{MODEL}:t:5")
    assert [(entry[1], entry[3]) for entry in pending] == [(b"w", 1)]


async def test_a_fetch_that_is_repeated_with_its_token_gets_the_same_claim(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await opened(queue, tasks=2)
    first, again, other = [await queue.run("fetch", "w", token, MODEL) for token in ("w/1", "w/1", "w/2")]
    assert first[:11] == again[:11]
    assert (first[2], other[2]) == (b"0", b"1")
    assert (await queue.job("j")).counts == Counts(in_flight=2)


async def test_queues_of_different_prefixes_do_not_see_each_other(redis: Redis) -> None:
    one, other = RedisQueue(redis, "{a}:"), RedisQueue(redis, "{b}:")
    await opened(one)
    assert await other.fetch("w", [MODEL]) == Idle(None)


async def test_many_fetchers_share_the_tasks(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await opened(queue, tasks=60)

    async def work(worker: str) -> list[str]:
        done = []
        while isinstance(claim := await queue.fetch(worker, [MODEL]), Claim):
            assert await queue.finish(claim, worker.encode())
            done.append(claim.task)
        return done

    found = await asyncio.gather(*(work(f"w{number}") for number in range(6)))
    assert sorted(int(task) for tasks in found for task in tasks) == list(range(60))
    assert (await queue.job("j")).counts == Counts(done=60)


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
    await queue.submit(Job("recorded", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    done, failed, gone, released = [await claimed(queue, worker) for worker in ("w", "w", "dead", "w")]
    await fill(own)
    with pytest.raises(ExhaustedError, match="full") as raised:
        await queue.enqueue("j", [Task("more")], CAPS)
    assert raised.value.retry_after_s
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
    with pytest.raises(ExhaustedError):
        await opened(queue, "another", 0)
    with pytest.raises(ExhaustedError):
        await queue.submit(Job("another", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    assert [one.job for one in await queue.listed()] == ["recorded"]


async def test_what_was_acknowledged_survives_a_kill(own_redis: ProgramServer, own: Redis) -> None:
    queue = RedisQueue(own)
    await opened(queue, tasks=6)
    claims = [await claimed(queue) for _ in range(3)]
    await queue.finish(claims[0], b"ref")
    await queue.fail(claims[1], "odd", retryable=False)
    await queue.submit(Job("k", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    assert await queue.change("k", Written(b"more", "RUNNING", b"plan"), 1, 7) == 2
    record, listed = await queue.record("k"), await queue.listed()
    before = [await queue.job("j"), await queue.tasks("j", list("012345")), await queue.dead_letters("j")]
    await own_redis.restart()
    after = [await queue.job("j"), await queue.tasks("j", list("012345")), await queue.dead_letters("j")]
    assert after == before
    assert (await queue.record("k"), await queue.listed(), await queue.active()) == (record, listed, ["k"])
    assert await queue.extend("w", [claims[2]]) == []
    assert await queue.finish(claims[2], b"ref")
    assert [(await claimed(queue)).task for _ in range(3)] == ["3", "4", "5"]


async def test_a_kill_in_the_midst_of_work_loses_and_doubles_nothing(own_redis: ProgramServer, own: Redis) -> None:
    queue = RedisQueue(own)
    await opened(queue, tasks=200)
    answered: list[str] = []
    crashing = [asyncio.Event(), asyncio.Event()]

    async def repeat(call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except UnavailableError:
                await own.wait_ready()

    async def work(worker: str) -> None:
        while (await repeat(lambda: queue.job("j"))).counts.done < 200:
            claim = await repeat(lambda: queue.fetch(worker, [MODEL]))
            if not isinstance(claim, Claim):
                await repeat(lambda: queue.recover_from(worker))  # a claim whose answer was lost for good
            elif await repeat(functools.partial(queue.finish, claim, worker.encode())):
                answered.append(claim.task)
            if answered and len(answered) % 50 == 0 and len(answered) < 150:
                crashing[len(answered) // 50 - 1].set()

    async def crash() -> None:
        for event in crashing:
            await event.wait()
            await own_redis.restart()

    async with asyncio.timeout(60):
        await asyncio.gather(crash(), *(work(f"w{number}") for number in range(4)))
    assert (await queue.job("j")).counts == Counts(done=200)
    assert sorted(answered) == sorted(map(str, range(200)))


async def test_who_is_cancelled_stops_wherever_that_reaches_the_driver(redis: Redis) -> None:
    queue = RedisQueue(redis)
    went_on: list[str] = []

    async def call(what: Callable[[], Awaitable[object]]) -> None:
        await what()
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            went_on.append(repr(what))

    for what in (redis.ping, lambda: queue.fetch("w", [MODEL]), lambda: queue.job("j")):
        await opened(queue)
        await what()
        for steps in range(40):
            task = asyncio.create_task(call(what))
            for _ in range(steps % 20):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
    assert went_on == []


async def test_redis_away_is_unavailable(own_redis: ProgramServer, own: Redis) -> None:
    queue = RedisQueue(own)
    await opened(queue)
    claim = await claimed(queue)
    waiting = asyncio.create_task(queue.wait([MODEL], 30))
    await asyncio.sleep(0)
    own_redis.kill()
    for call in (queue.fetch("w", [MODEL]), queue.finish(claim, b""), queue.job("j"), waiting):
        with pytest.raises(UnavailableError) as raised:
            await call
        assert raised.value.retry_after_s
    own_redis.start()
    await own_redis.wait_ready()
    assert await queue.finish(claim, b"ref")
