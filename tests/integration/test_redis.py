import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.local.programs import redis_command
from modelyard.redis import SETTINGS, Redis
from tests.servers import ProgramServer, new_redis
from tests.waiting import eventually


@pytest.fixture
async def redis(redis_server: ProgramServer) -> AsyncIterator[Redis]:
    client = Redis(redis_server.endpoint)
    yield client
    await client.close()


async def test_redis_runs_with_the_settings_that_the_queue_needs(redis: Redis) -> None:
    assert await redis.unsafe_settings() == {}


async def test_unsafe_settings_are_named_with_their_values(redis: Redis) -> None:
    await redis._client.config_set("appendfsync", "everysec")
    try:
        assert await redis.unsafe_settings() == {"appendfsync": "everysec"}
    finally:
        await redis._client.config_set("appendfsync", SETTINGS["appendfsync"])


async def test_what_was_acknowledged_survives_a_kill(redis: Redis, redis_server: ProgramServer) -> None:
    await redis._client.set("survivor", "1")
    await redis_server.restart()
    again = Redis(redis_server.endpoint)
    assert await again._client.get("survivor") == b"1"
    await again.close()


async def test_commands_wait_for_each_other_where_there_are_more_than_connections(redis: Redis) -> None:
    answers = await asyncio.gather(*(redis.command("ECHO", number) for number in range(300)))
    assert [int(answer) for answer in answers] == list(range(300))


async def test_redis_away_is_no_ping_and_comes_back(redis: Redis, redis_server: ProgramServer) -> None:
    assert await redis.ping()
    redis_server.kill()
    assert not await redis.ping()
    redis_server.start()
    await redis_server.wait_ready()
    assert await redis.ping()


async def test_wait_ready_says_what_it_waits_for_and_returns_when_redis_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_redis(tmp_path)
    client = Redis(server.endpoint)
    waiting = asyncio.create_task(client.wait_ready())
    try:
        with caplog.at_level(logging.WARNING, "modelyard.redis"):
            await eventually(lambda: len(caplog.records) >= 2)
        assert not waiting.done()
        assert {(r.getMessage(), vars(r)["address"]) for r in caplog.records} == {
            ("waiting for redis", server.endpoint)
        }
        server.start()
        await asyncio.wait_for(waiting, 30)
    finally:
        waiting.cancel()
        await client.close()
        server.close()


def test_the_command_binds_to_loopback_alone(tmp_path: Path) -> None:
    command = redis_command(tmp_path, 1)
    assert command[command.index("--bind") + 1] == "127.0.0.1"
