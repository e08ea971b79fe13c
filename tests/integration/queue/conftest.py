"""Both queues, empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.queue import TaskQueue
from modelyard.redis import Redis
from tests.queues import Aged, AgedMemory, AgedRedis
from tests.servers import ProgramServer, new_redis


@pytest.fixture
async def redis(redis_server: ProgramServer) -> AsyncIterator[Redis]:
    client = Redis(redis_server.endpoint)
    await client.command("FLUSHALL")
    yield client
    await client.close()


@pytest.fixture(params=["redis", "memory"])
def aged(request: pytest.FixtureRequest, redis: Redis) -> Aged:
    return AgedRedis(redis) if request.param == "redis" else AgedMemory()


@pytest.fixture
def queue(aged: Aged) -> TaskQueue:
    return aged.queue


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
