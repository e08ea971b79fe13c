from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc.aio import AioRpcError, UsageError

from modelyard.errors import NotFoundError, UnavailableError
from modelyard.rpc import channel
from modelyard.rpc.channel import Stub
from modelyard.rpc.registry import patiently
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server
from modelyard.v1 import registry_pb2 as pb
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Registry"]


class Registry:
    """Says who it is; of one model it has none."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def GetModel(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        if request.name == "none":
            raise NotFoundError("none")
        if request.name == "never":
            await asyncio.Event().wait()
        return pb.Model(name=self.name)


@contextlib.asynccontextmanager
async def serving(name: str, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    server = Server(name)
    server.add(SERVICE, Registry(name))
    yield await server.start(address)
    await server.stop(0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that channels were opened to."""
    found: list[str] = []

    def noting(address: str) -> Any:
        found.append(address)
        return channel.open_channel(address)

    monkeypatch.setattr("modelyard.rpc.replicas.open_channel", noting)
    return found


async def asked(replicas: Replicas, name: str = "m", timeout_s: float = 10.0) -> str:
    async with replicas.stub(SERVICE) as stub:
        return str((await stub.GetModel(pb.GetModelRequest(name=name), timeout=timeout_s)).name)


async def both_asked(replicas: Replicas) -> bool:
    """Whether both are connected, of which one may be so before the other."""
    return {await asked(replicas), await asked(replicas)} == {"a", "b"}


async def refused(replicas: Replicas, reason: str) -> bool:
    """Whether a call fails for that reason."""
    with pytest.raises(UnavailableError) as failure:
        await asked(replicas)
    return failure.value.message == reason


async def test_replicas_take_turns_over_a_channel_each(opened: list[str]) -> None:
    async with serving("a") as one, serving("b") as other:
        replicas = Replicas("registry", lambda: [one, other])
        await eventually(lambda: both_asked(replicas))
        assert sorted([await asked(replicas) for _ in range(6)]) == ["a"] * 3 + ["b"] * 3
        with pytest.raises(NotFoundError, match="none"):
            await asked(replicas, "none")
        assert sorted(opened) == sorted([one, other])
        await replicas.close()


async def test_one_that_gives_no_answer_is_away() -> None:
    async with serving("a") as address:
        replicas = Replicas("registry", lambda: [address])
        assert await asked(replicas) == "a"
        with pytest.raises(UnavailableError, match="registry: it has given no answer in time"):
            await asked(replicas, "never", 0.05)
        await replicas.close()


async def test_one_that_came_back_is_called_again(opened: list[str]) -> None:
    async with serving("a") as address:
        replicas = Replicas("registry", lambda: [address])
        assert await asked(replicas) == "a"
    # The connection may break under the first call, which says that instead.
    await eventually(lambda: refused(replicas, f"registry at {address}: cannot be reached"))
    async with serving("b", address):
        assert await patiently(lambda: asked(replicas)) == "b"
    assert opened == [address]
    await replicas.close()


async def test_one_that_cannot_be_reached_is_passed_over() -> None:
    async with serving("gone") as gone:
        pass
    async with serving("a") as address:
        replicas = Replicas("registry", lambda: [gone, address])
        assert [await asked(replicas) for _ in range(3)] == ["a"] * 3
        await replicas.close()


async def test_what_is_under_way_at_a_replica_that_left_goes_on(opened: list[str]) -> None:
    async with serving("b") as other:
        async with serving("a") as one:
            live = [one]
            replicas = Replicas("registry", lambda: live)
            async with replicas.stub(SERVICE) as stub:
                live = [other]
                assert await asked(replicas) == "b"
                assert (await stub.GetModel(pb.GetModelRequest(name="m"), timeout=60)).name == "a"
        await eventually(lambda: asked_until_closed(replicas, stub))
        assert opened == [one, other]
        await replicas.close()


async def asked_until_closed(replicas: Replicas, stub: Stub) -> bool:
    """Whether a call closes the channel of the stub, which has broken."""
    assert await asked(replicas) == "b"
    try:
        await stub.GetModel(pb.GetModelRequest(name="m"), timeout=60)
    except UsageError:
        return True
    except AioRpcError:
        return False
    raise AssertionError("it was answered")


async def test_while_none_is_announced_those_that_are_connected_are_used_on() -> None:
    async with serving("a") as address:
        live = [address]
        replicas = Replicas("registry", lambda: live)
        assert await asked(replicas) == "a"
        live = []
        assert await asked(replicas) == "a"
        await replicas.close()


async def test_nobody_is_live() -> None:
    with pytest.raises(UnavailableError, match="no registry is live"):
        await asked(Replicas("registry", list))
