from __future__ import annotations

import grpc
import grpc.aio
import pytest

from modelyard.errors import TABLE, InvalidInputError, UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.server import Server
from modelyard.rpc.status import code_of, details_of, error_of, trailers_of
from modelyard.v1 import registry_pb2

SERVICE = registry_pb2.DESCRIPTOR.services_by_name["Registry"]


class Refusing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def GetModel(self, request: registry_pb2.GetModelRequest, context: object) -> registry_pb2.Model:  # noqa: N802
        raise self._error


async def received(error: Exception) -> grpc.aio.AioRpcError:
    """What a client sees of an error that a handler raises."""
    server = Server("test")
    server.add(SERVICE, Refusing(error))
    address = await server.start("127.0.0.1:0")
    try:
        async with open_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Stub(channel, SERVICE).GetModel(registry_pb2.GetModelRequest())
            return caught.value
    finally:
        await server.stop(0)


@pytest.mark.parametrize("kind", TABLE.values(), ids=TABLE)
async def test_every_error_arrives_as_itself(kind: type[Exception]) -> None:
    error = error_of(await received(kind("model 'ä': expected this, got that")))
    assert type(error) is kind
    assert error.message == "model 'ä': expected this, got that"
    assert error.retry_after_s is None


async def test_a_retry_delay_arrives() -> None:
    failure = await received(UnavailableError("loading", retry_after_s=1.5))
    assert error_of(failure).retry_after_s == 1.5
    assert ("grpc-retry-pushback-ms", "1500") in trailers_of(UnavailableError("loading", retry_after_s=1.5))


@pytest.mark.parametrize("letter", ["x", "ä", "字", "\0", "\ud800"])
async def test_a_long_message_is_cut_and_its_status_arrives(letter: str) -> None:
    error = InvalidInputError(letter * 1_000_000)
    failure = await received(error)
    assert failure.code() is code_of(error) is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.details() == details_of(error)
    assert 1000 < len(details_of(error).encode()) <= 2000


async def test_what_is_not_foreseen_says_nothing_of_itself() -> None:
    failure = await received(ValueError("secret"))
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(failure)
    assert type(error_of(failure)).__name__ == "InternalError"
