"""gRPC's own services beside ours: they answer through every interceptor, and no server waits for who watches it.

Health by names: what is asked, what is watched, and that watchers do not disturb each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2

from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.revision import RevisionInterceptor
from modelyard.rpc.server import Server
from modelyard.v1 import runner_pb2

HEALTH = pb.DESCRIPTOR.services_by_name["Health"]
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


async def reach(method: str, revision: int) -> None:
    """Every revision is there."""


@pytest.mark.parametrize("interceptors", [[], [RevisionInterceptor(reach)]])
async def test_a_watch_of_the_health_is_told_it_and_holds_no_server_up(interceptors: Sequence[Any]) -> None:
    server = Server("watched", interceptors=interceptors)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        watch = Stub(channel, HEALTH).Watch(pb.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        server.set_serving(False)
        assert (await watch.read()).status == pb.HealthCheckResponse.NOT_SERVING
        await asyncio.wait_for(server.stop(600), 60)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_reflection_answers_and_holds_no_server_up() -> None:
    server = Server("reflecting", interceptors=[RevisionInterceptor(reach)])
    closed = asyncio.Event()

    async def ask() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        await closed.wait()

    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        answers = Stub(channel, REFLECTION).ServerReflectionInfo(ask())
        found = await answers.read()
        assert HEALTH.full_name in {service.name for service in found.list_services_response.service}
        await asyncio.wait_for(server.stop(600), 60)
        closed.set()


class Asked:
    """A server and a client of its health."""

    def __init__(self, server: Server, stub: Stub) -> None:
        self.server = server
        self._stub = stub

    async def check(self, name: str = "") -> int:
        """Ask once."""
        return int((await self._stub.Check(pb.HealthCheckRequest(service=name), timeout=20)).status)

    def watch(self, name: str = "") -> Any:
        """Follow."""
        return self._stub.Watch(pb.HealthCheckRequest(service=name), timeout=60)


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    server = Server("asked")
    server.add(runner_pb2.DESCRIPTOR.services_by_name["Runner"], object())
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        yield Asked(server, Stub(channel, HEALTH))
        await server.stop(0)


@pytest.mark.parametrize("name", ["", "modelyard.v1.Runner"])
async def test_a_server_answers_for_itself_and_for_its_services(asked: Asked, name: str) -> None:
    assert await asked.check(name) == SERVING
    asked.server.set_serving(False)
    assert await asked.check(name) == NOT_SERVING
    asked.server.set_serving(True)
    assert await asked.check(name) == SERVING


async def test_a_name_that_is_not_known_is_not_found(asked: Asked) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked.check("m@1")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    asked.server.health.set("m@1", False)
    assert await asked.check("m@1") == NOT_SERVING
    asked.server.health.remove("m@1")
    asked.server.health.remove("m@1")
    with pytest.raises(grpc.aio.AioRpcError):
        await asked.check("m@1")


async def test_a_name_can_be_watched_before_it_is_known_and_after(asked: Asked) -> None:
    watch = asked.watch("m")
    assert (await watch.read()).status == UNKNOWN
    asked.server.health.set("other", True)  # is no news
    asked.server.health.set("m", True)
    assert (await watch.read()).status == SERVING
    asked.server.health.set("m", True)  # neither is this
    asked.server.health.set("m", False)
    assert (await watch.read()).status == NOT_SERVING
    asked.server.health.remove("m")
    assert (await watch.read()).status == UNKNOWN
    watch.cancel()


async def test_who_stops_watching_takes_nobody_along(asked: Asked) -> None:
    leaving, staying = [asked.watch() for _ in range(3)], [asked.watch() for _ in range(3)]
    for watch in (*leaving, *staying):
        assert (await watch.read()).status == SERVING
    for watch in leaving:
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch.read()
    for serving, status in ((False, NOT_SERVING), (True, SERVING)):
        asked.server.set_serving(serving)
        assert [(await watch.read()).status for watch in staying] == [status] * 3


async def test_a_server_that_stops_serves_no_more_whatever_is_said_of_it(asked: Asked) -> None:
    asked.server.health.set("m", True)
    watch = asked.watch("m")
    assert (await watch.read()).status == SERVING
    asked.server.health.end()
    asked.server.set_serving(True)
    asked.server.health.set("m", True)
    assert (await watch.read()).status == NOT_SERVING
    assert [await asked.check(name) for name in ("", "m", "modelyard.v1.Runner")] == [NOT_SERVING] * 3
