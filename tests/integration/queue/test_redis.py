"""What only a real Redis shows: what a fetch costs, absence, and what survives a kill."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from modelyard.errors import UnavailableError
from modelyard.queue import Claim, Counts, Idle, Job, RedisQueue, Written
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis
from tests.queues import CAPS, MODEL, claimed, opened
from tests.servers import ProgramServer
from tests.waiting import eventually

T = TypeVar("T")


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
    first, again, other = [await queue.run("fetch", "w", 0, token, MODEL) for token in ("w/1", "w/1", "w/2")]
    assert first[:11] == again[:11]
    assert (first[2], other[2]) == (b"0", b"1")
    assert (await queue.job("j")).counts == Counts(in_flight=2)


async def test_a_fetch_whose_answer_is_lost_is_answered_by_the_next_one_of_its_slot(
    own_redis: ProgramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.redis._PATIENCE_S", 1.0)
    redis = Redis(own_redis.endpoint)
    queue = RedisQueue(redis)
    assert await queue.fetch("w", [MODEL]) == Idle(None)  # so that Redis knows the script
    await opened(queue, tasks=3)
    own_redis.suspend()
    with pytest.raises(UnavailableError):
        await queue.fetch("w", [MODEL])
    own_redis.resume()

    async def has_claimed() -> bool:
        with contextlib.suppress(UnavailableError):
            return (await queue.job("j")).counts == Counts(queued=2, in_flight=1)
        return False

    await eventually(has_claimed)
    claim = await claimed(queue)
    assert (claim.task, claim.attempt) == ("0", 1)
    assert (await queue.job("j")).counts == Counts(queued=2, in_flight=1)
    assert (await claimed(queue)).task == "1"
    await redis.close()


async def test_each_slot_of_a_worker_has_its_own_last_claim(redis: Redis) -> None:
    queue = RedisQueue(redis)
    await opened(queue, tasks=3)
    first = await queue.run("fetch", "w", 0, "w/1", MODEL)
    await queue.run("fetch", "w", 1, "w/2", MODEL)
    again = await queue.run("fetch", "w", 0, "w/1", MODEL)
    assert first[:11] == again[:11]
    assert [event.kind for event in await queue.events("j", 1)] == ["started", "started"]
    assert isinstance(await queue.fetch("w", [MODEL], 1), Claim)
    assert (await queue.job("j")).counts == Counts(in_flight=3)


async def commands_of(redis: Redis, call: Awaitable[T]) -> tuple[T, int]:
    """What a call returns, and how many commands it cost."""

    async def so_far() -> int:
        return sum(facts["calls"] for facts in (await redis.command("INFO", "commandstats")).values())

    before = await so_far()
    found = await call
    return found, await so_far() - before


async def test_a_paused_job_with_very_many_tasks_does_not_slow_its_neighbours(redis: Redis) -> None:
    queue = RedisQueue(redis)
    for number in range(3):
        await opened(queue, f"big-{number}", 500, "a", number)
    await opened(queue, "small", 6, "b")
    await opened(queue, "same", 1, "a", 9)
    _, usual = await commands_of(redis, queue.fetch("w", [MODEL]))
    for number in range(3):
        await queue.pause(f"big-{number}")
    most, served = 3 * 16 * 15, []
    for _ in range(7):
        claim, calls = await commands_of(redis, queue.fetch("w", [MODEL]))
        assert isinstance(claim, Claim)
        assert calls < usual + most
        served.append(claim.job)
    assert sorted(served) == ["same", *["small"] * 6]
    idle, calls = await commands_of(redis, queue.fetch("w", [MODEL]))
    assert idle == Idle(0.0)
    assert calls < 8 * most
    _, calls = await commands_of(redis, queue.resume("big-0"))
    assert calls < 20


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
