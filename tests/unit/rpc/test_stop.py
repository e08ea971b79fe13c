"""A server that stops: what is under way finishes, what comes late is UNAVAILABLE and never CANCELLED."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.health import check_serving
from modelyard.rpc.server import Server
from modelyard.rpc.status import error_of
from modelyard.tasks import completed
from modelyard.v1 import registry_pb2 as pb
from tests.waiting import eventually


class Slow:
    """ServerLive answers at once, ServerReady when it is let go."""

    def __init__(self) -> None:
        self.under_way = 0
        self.go = asyncio.Event()

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.under_way += 1
        await self.go.wait()
        return messages.ServerReadyResponse(ready=True)


async def test_calls_under_way_finish_and_late_ones_are_unavailable() -> None:
    slow, server = Slow(), Server("slow")
    server.add(messages.SERVICE, slow)
    address = await server.start("127.0.0.1:0")
    await check_serving(address, 30)
    async with open_channel(address) as channel:
        stub = Stub(channel, messages.SERVICE)
        calls = [asyncio.ensure_future(_call(stub.ServerReady(messages.ServerReadyRequest()))) for _ in range(50)]
        await eventually(lambda: slow.under_way == 50)
        stopping = asyncio.ensure_future(server.stop(60))
        live = messages.ServerLiveRequest()
        await eventually(lambda: _is(stub.ServerLive(live), "UNAVAILABLE"))
        assert not stopping.done()
        slow.go.set()
        assert await asyncio.gather(*calls) == ["OK"] * 50
        await stopping


async def test_under_a_flood_of_calls_nobody_is_told_cancelled() -> None:
    statuses: Counter[str] = Counter()
    for _ in range(5):
        server = Server("flooded")
        server.add(messages.SERVICE, Slow())
        address = await server.start("127.0.0.1:0")
        stopped = asyncio.Event()
        clients = [asyncio.ensure_future(_flood(address, statuses, stopped)) for _ in range(16)]
        answered = statuses["OK"] + 200
        await eventually(lambda least=answered: statuses["OK"] >= least)  # type: ignore[misc]
        await server.stop(60)
        stopped.set()
        await asyncio.gather(*clients)
    assert set(statuses) == {"OK", "UNAVAILABLE"}


async def test_what_does_not_finish_within_the_grace_period_is_cut_off() -> None:
    slow, server = Slow(), Server("slow")
    server.add(messages.SERVICE, slow)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        call = asyncio.ensure_future(_call(Stub(channel, messages.SERVICE).ServerReady(messages.ServerReadyRequest())))
        await eventually(lambda: slow.under_way == 1)
        await server.stop(0.05)
        assert await call == "UNAVAILABLE"


async def test_a_server_without_calls_stops_at_once() -> None:
    server = Server("idle")
    await server.start("127.0.0.1:0")
    await server.stop(600)


async def _flood(address: str, statuses: Counter[str], stopped: asyncio.Event) -> None:
    async with open_channel(address) as channel:
        stub = Stub(channel, messages.SERVICE)
        while not stopped.is_set():
            statuses[await _call(stub.ServerLive(messages.ServerLiveRequest()))] += 1


async def _call(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


async def _is(call: Any, status: str) -> bool:
    return await _call(call) == status


class Standing:
    """A watch that says that it stands, then nothing; so many steps before it does so the server is stopped."""

    def __init__(self, server: Server, steps: int) -> None:
        self.server = server
        self.steps = steps
        self.stopping: asyncio.Future[None] | None = None

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.stopping = asyncio.ensure_future(self.server.stop(60))
        for _ in range(self.steps):
            await asyncio.sleep(0)
        await completed(context.send_initial_metadata(()))
        await asyncio.Event().wait()
        yield pb.WatchResponse()


@pytest.mark.parametrize("steps", range(6))
async def test_a_stop_while_a_watch_says_that_it_stands_is_told(steps: int) -> None:
    service = pb.DESCRIPTOR.services_by_name["Registry"]
    server = Server("standing", lasting=["/modelyard.v1.Registry/Watch"])
    standing = Standing(server, steps)
    server.add(service, standing)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Stub(channel, service).Watch(pb.WatchRequest()).read()
        assert error_of(caught.value).message == "this server is stopping"
    assert standing.stopping is not None
    await standing.stopping
