"""gRPC's own services beside ours: they answer through every interceptor, and no server waits for who watches it."""

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

HEALTH = pb.DESCRIPTOR.services_by_name["Health"]
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
SERVING = pb.HealthCheckResponse.SERVING


async def reach(method: str, revision: int) -> None:
    """Every revision is there."""


@pytest.mark.parametrize("interceptors", [[], [RevisionInterceptor(reach)]])
async def test_a_watch_of_the_health_is_told_it_and_holds_no_server_up(interceptors: Sequence[Any]) -> None:
    server = Server("watched", interceptors=interceptors)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        watch = Stub(channel, HEALTH).Watch(pb.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        await server.set_serving(False)
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
