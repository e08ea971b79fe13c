"""Revisions in metadata, over real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from modelyard import revisions
from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.revision import RevisionInterceptor
from modelyard.rpc.server import Server
from modelyard.rpc.status import MIN_REVISION_KEY, REVISION_KEY, error_of, revision_of
from modelyard.v1 import registry_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Registry"]


class Registry:
    """Sees the revision that is asked for as a name, and has no more than `newest`."""

    def __init__(self) -> None:
        self.newest = 100
        self.reached: list[tuple[str, int]] = []
        self.calls = 0

    async def reach(self, method: str, revision: int) -> None:
        self.reached.append((method, revision))
        revisions.note(self.newest)
        if revision > self.newest:
            raise PreconditionError("restored")

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.calls += 1
        if request.name == "absent":
            revisions.note(30)
            raise NotFoundError("no such model")
        if request.name == "broken":
            revisions.note(31)
            raise ValueError("unforeseen")
        for part in request.name.split():
            revisions.note(int(part))
        return pb.Model(name=request.name)

    async def ReadFile(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        for revision in (4, 8, 6):
            revisions.note(revision)
            yield pb.ReadFileResponse(data=b"x")


@pytest.fixture
async def registry() -> Registry:
    return Registry()


@pytest.fixture
async def stub(registry: Registry) -> AsyncIterator[Any]:
    server = Server("r", interceptors=[RevisionInterceptor(registry.reach)])
    server.add(SERVICE, registry)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        yield Stub(channel, SERVICE)
    await server.stop(0)


async def trailers(call: Any) -> dict[str, Any]:
    return dict(await call.trailing_metadata())


async def test_an_answer_names_the_newest_revision_that_it_saw(stub: Any) -> None:
    call = stub.GetModel(pb.GetModelRequest(name="7 9 8"))
    await call
    assert revision_of(await call.trailing_metadata()) == 9
    call = stub.GetModel(pb.GetModelRequest(name=""))
    await call
    assert REVISION_KEY not in await trailers(call)


async def test_a_stream_names_it_at_its_end(stub: Any) -> None:
    call = stub.ReadFile(pb.ReadFileRequest())
    assert [part.data async for part in call] == [b"x"] * 3
    assert revision_of(await call.trailing_metadata()) == 8


@pytest.mark.parametrize(("name", "revision", "error"), [("absent", 30, NotFoundError), ("broken", 31, None)])
async def test_an_error_names_it_beside_its_own_name(stub: Any, name: str, revision: int, error: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetModel(pb.GetModelRequest(name=name))
    assert revision_of(caught.value.trailing_metadata()) == revision
    assert error is None or isinstance(error_of(caught.value), error)


def asking(revision: str) -> tuple[tuple[str, str], ...]:
    return ((MIN_REVISION_KEY, revision),)


async def test_a_revision_that_is_asked_for_is_reached_first(stub: Any, registry: Registry) -> None:
    await stub.GetModel(pb.GetModelRequest(name="1"))
    await stub.GetModel(pb.GetModelRequest(name="1"), metadata=asking("0"))
    assert registry.reached == []
    await stub.GetModel(pb.GetModelRequest(name="1"), metadata=asking("50"))
    _ = [part async for part in stub.ReadFile(pb.ReadFileRequest(), metadata=asking("51"))]
    assert registry.reached == [("/modelyard.v1.Registry/GetModel", 50), ("/modelyard.v1.Registry/ReadFile", 51)]
    calls = registry.calls
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetModel(pb.GetModelRequest(name="1"), metadata=asking("101"))
    assert isinstance(error_of(caught.value), PreconditionError)
    assert revision_of(caught.value.trailing_metadata()) == 100
    assert registry.calls == calls


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "9223372036854775808", "1" * 5000])
async def test_what_is_no_revision_is_refused(stub: Any, registry: Registry, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetModel(pb.GetModelRequest(name="1"), metadata=asking(text))
    assert isinstance(error_of(caught.value), InvalidInputError)
    assert registry.calls == 0


async def test_the_largest_revision_is_one(stub: Any, registry: Registry) -> None:
    registry.newest = 1 << 63
    await stub.GetModel(pb.GetModelRequest(name="1"), metadata=asking(str((1 << 63) - 1)))
    assert registry.calls == 1
