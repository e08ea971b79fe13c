"""What is no message of a method is its caller's mistake, whatever the kind of the method."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message

from modelyard.rpc.channel import method_path, open_channel
from modelyard.rpc.server import Server
from modelyard.v1 import registry_pb2

SERVICE = registry_pb2.DESCRIPTOR.services_by_name["Registry"]
NONE = b"\xff\xff\xff"


class Servicer:
    """One method of each kind that is served; each must not be reached by what is no message."""

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return registry_pb2.Model(name=request.name)

    async def DownloadChunks(self, request: Any, context: Any) -> AsyncIterator[Message]:  # noqa: N802
        yield registry_pb2.DownloadChunksResponse(data=b"1")

    async def UploadChunks(self, requests: Any, context: Any) -> Any:  # noqa: N802
        async for _ in requests:
            pass
        return registry_pb2.UploadChunksResponse()


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = Server("test")
    server.add(SERVICE, Servicer())
    async with open_channel(await server.start("127.0.0.1:0")) as opened:
        yield opened
    await server.stop(0)


async def unary(channel: grpc.aio.Channel, name: str, request: bytes) -> Any:
    return await channel.unary_unary(method_path(SERVICE.methods_by_name[name]), None, None)(request, timeout=60)


async def test_a_good_request_is_answered(channel: grpc.aio.Channel) -> None:
    answer = await unary(channel, "GetModel", registry_pb2.GetModelRequest(name="m").SerializeToString())
    assert registry_pb2.Model.FromString(answer).name == "m"


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_unary"])
async def test_a_malformed_request_is_an_invalid_argument(channel: grpc.aio.Channel, kind: str) -> None:
    name = {"unary_unary": "GetModel", "unary_stream": "DownloadChunks", "stream_unary": "UploadChunks"}[kind]
    method = getattr(channel, kind)(method_path(SERVICE.methods_by_name[name]), None, None)
    call = method(iter([NONE]) if kind == "stream_unary" else NONE, timeout=60)
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == f"expected a {name}Request, got 3 bytes that are none"
