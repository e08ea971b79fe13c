"""A worker's claims on a real Redis, which may be away, and other workers that take them over."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard import codec
from modelyard.jobs.tasks import Outcome
from modelyard.metrics import families
from modelyard.queue import Claim, Counts, RedisQueue
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis
from modelyard_worker.jobs.leases import LEASE_S
from tests.pulling import WORKER, Worker, outcome, status, submit
from tests.queues import AgedRedis
from tests.servers import ProgramServer
from tests.waiting import eventually

TENANT = ("acme", "m", "1")
IDLE_MS = "return redis.call('XPENDING', KEYS[1], 'workers', '-', '+', 1)[1][3]"
IDLE_DIGEST = hashlib.sha1(IDLE_MS.encode(), usedforsecurity=False).hexdigest()
OTHERS = codec.encode(Outcome(1.0, "other"))


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard_worker.jobs.site.GRACE_S", 0.05)


@pytest.fixture
async def redis(redis_server: ProgramServer) -> AsyncIterator[Redis]:
    client = Redis(redis_server.endpoint)
    await client.command("FLUSHALL")
    yield client
    await client.close()


@pytest.fixture
def queue(redis: Redis) -> RedisQueue:
    return RedisQueue(redis)


async def begun(worker: Worker, count: int = 1) -> None:
    """Wait until readers were told to begin so many tasks."""
    await eventually(lambda: sum(order.startswith("begin") for order in worker.orders) == count)


async def taken_over(queue: RedisQueue, worker: Worker) -> Claim:
    """Have another worker claim what the worker has."""
    worker.puller.drain()  # or it may fetch it again
    assert [one.outcome for one in await queue.recover_from(WORKER)] == ["returned"]
    claim = await queue.fetch("other", ["m@1"])
    assert isinstance(claim, Claim)
    return claim


async def test_claims_are_extended_while_their_runner_beats(redis: Redis, queue: RedisQueue, tmp_path: Path) -> None:
    aged = AgedRedis(redis)

    async def is_extended() -> bool:
        return bool(await redis.evaluate(IDLE_MS, IDLE_DIGEST, f"{PREFIX}tasks:m@1:acme:5") < 1000 * LEASE_S / 3)

    async with Worker(tmp_path, queue, extend_s=0.05) as worker:
        worker.admit()
        silent = worker.admit("silent")
        await submit(queue, "wait")
        await submit(queue, "wait", job="k", model="silent")
        await begun(worker, 2)
        silent.runner.silent_s = 2.5
        recovered = await queue.recover(LEASE_S)
        for _ in range(3):
            await aged.advance(0.4 * LEASE_S)
            await eventually(is_extended)
            recovered += await queue.recover(LEASE_S)
        assert [(one.job, one.owner) for one in recovered] == [("k", WORKER)]
        silent.runner.silent_s = 0.0
        await eventually(lambda: "drop" in worker.orders)


async def test_a_stale_worker_can_neither_finish_nor_overwrite(queue: RedisQueue, tmp_path: Path) -> None:
    async with Worker(tmp_path, queue, extend_s=1000) as worker:  # it does not hear that it was recovered
        worker.admit()
        await submit(queue, f"wait-for {tmp_path / 'go'}")
        await begun(worker)
        claim = await taken_over(queue, worker)
        (tmp_path / "go").touch()
        await eventually(lambda: worker.counted(families.TASKS) == {(*TENANT, "stale"): 1})
        assert (await queue.job("j")).counts == Counts(in_flight=1)
        assert await queue.finish(claim, OTHERS)
        assert await outcome(queue) == Outcome(1.0, "other")
        assert worker.counted(families.JOB_ROWS) == {}


async def test_a_worker_that_comes_too_late_leaves_the_first_result(queue: RedisQueue, tmp_path: Path) -> None:
    async with Worker(tmp_path, queue, extend_s=1000) as worker:
        worker.admit()
        await submit(queue, f"wait-for {tmp_path / 'go'}")
        await begun(worker)
        assert await queue.finish(await taken_over(queue, worker), OTHERS)
        (tmp_path / "go").touch()
        await eventually(lambda: worker.counted(families.TASKS) == {(*TENANT, "stale"): 1})
        assert await outcome(queue) == Outcome(1.0, "other")


async def test_what_was_executed_while_redis_was_away_is_finished(
    redis_server: ProgramServer, queue: RedisQueue, tmp_path: Path
) -> None:
    async with Worker(tmp_path, queue, extend_s=0.05) as worker:
        worker.admit()
        await submit(queue, f"wait-for {tmp_path / 'go'}")
        await begun(worker)
        redis_server.kill()
        (tmp_path / "go").touch()
        redis_server.start()
        await redis_server.wait_ready()
        await eventually(lambda: worker.counted(families.TASKS) == {(*TENANT, "done"): 1})
        assert worker.counted(families.JOB_ROWS) == {TENANT: 4}
        found = await status(queue)
        assert (found.state, found.attempts) == ("done", 1)


async def test_a_worker_starts_while_redis_is_away_and_pulls_when_it_is_there(
    redis_server: ProgramServer, queue: RedisQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await submit(queue, "execute")
    redis_server.kill()
    try:
        async with Worker(tmp_path, queue) as worker:
            worker.admit()
            await eventually(lambda: "no tasks are fetched" in caplog.messages)
            redis_server.start()
            await eventually(lambda: worker.counted(families.JOB_ROWS) == {TENANT: 4})
        assert caplog.messages.count("no tasks are fetched") == 1
        assert "unforeseen error" not in caplog.messages
    finally:
        redis_server.kill()
        redis_server.start()


async def test_an_instance_that_is_unloaded_while_redis_is_away_does_not_wait_for_it(
    redis_server: ProgramServer, queue: RedisQueue, tmp_path: Path
) -> None:
    async with Worker(tmp_path, queue) as worker:
        admitted = worker.admit()
        await submit(queue, "wait")
        await begun(worker)
        redis_server.kill()
        try:
            await admitted.leave()
        finally:
            redis_server.start()
    assert worker.counted(families.TASKS) == {(*TENANT, "lost"): 1}
