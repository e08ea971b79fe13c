"""The runner's execute stream: calls in, replies out, whatever becomes of either side."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.server import Server
from modelyard.rpc.status import error_of
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.listener import FIRST_BYTES, ExecuteListener
from modelyard_worker.runner.models import LoadOrder, Models
from modelyard_worker.runner.servicer import RunnerServicer
from tests.executing import Execution
from tests.unit.worker.instances import INSTANCE, Echo, request, values
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]


@contextlib.asynccontextmanager
async def serving(echo: Echo, **options: Any) -> AsyncIterator[tuple[Any, Models]]:
    """A stub, whose attribute `port` is where it takes execute streams, and what is held."""
    models = Models(1, load=lambda *_: echo)
    await models.load(LoadOrder(INSTANCE, "w0", "onnx", Path(), InstanceOptions(**options)))
    listener = ExecuteListener(models)
    port = await listener.start("127.0.0.1")
    server = Server("runner")
    server.add(SERVICE, RunnerServicer(models, port))
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        stub: Any = Stub(channel, SERVICE)
        stub.port = port
        yield stub, models
    echo.go.set()
    await server.stop(0)
    await listener.close(0)
    assert await models.close(30)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def stub(echo: Echo) -> AsyncIterator[Any]:
    async with serving(echo) as (found, _):
        yield found


def call(number: int, data: bytes, *, timeout_us: int = 0, alone: bool = False) -> pb.Call:
    return pb.Call(id=number, request=data, timeout_us=timeout_us, alone=alone)


async def replies(stream: Execution, count: int) -> dict[int, pb.Reply]:
    found: dict[int, pb.Reply] = {}
    while len(found) < count:
        found |= {r.id: r for r in await stream.replies() if r.WhichOneof("outcome")}
    return found


async def begun(stream: Execution) -> list[int]:
    """The next message, which says only of which calls that are alone it is the turn."""
    found = await stream.replies()
    assert not any(r.WhichOneof("outcome") for r in found)
    return [r.id for r in found]


async def test_calls_of_one_message_and_of_many_are_answered(stub: Any, echo: Echo) -> None:
    stream = await Execution.open(stub.port)
    stream.write(pb.ExecuteRequest(calls=[call(i, request(i)) for i in range(50)]))
    for i in range(50, 60):
        stream.write(pb.ExecuteRequest(calls=[call(i, request(i))]))
    found = await replies(stream, 60)
    assert {i: values(r.response) for i, r in found.items()} == {i: [i] for i in range(60)}
    assert echo.executed == list(range(60))
    assert echo.threads != {threading.get_ident()}
    assert len(echo.threads) == 1
    stream.cancel()


async def test_the_replies_of_a_batch_come_in_one_message(echo: Echo) -> None:
    async with serving(echo, max_batch_size=64) as (stub, models):
        echo.go.clear()
        stream = await Execution.open(stub.port)
        stream.write(pb.ExecuteRequest(calls=[call(100, request(0))]))
        await eventually(lambda: echo.batches)
        stream.write(pb.ExecuteRequest(calls=[call(i, request(i)) for i in range(50)]))
        await eventually(lambda: models.find("m@1").waiting == 50)
        echo.go.set()
        ids = [r.id for r in await stream.replies()]
        ids = ids if len(ids) > 1 else [*ids, *(r.id for r in await stream.replies())]
        assert ids == [100, *range(50)]
        stream.cancel()


@pytest.mark.parametrize("instance", ["other@1", "m"])
async def test_a_stream_for_another_instance_is_refused(stub: Any, instance: str) -> None:
    stream = await Execution.begin(stub.port, instance)
    response = await stream.read()
    assert response is not None
    assert (response.refusal.error, response.refusal.message) == (
        "NotFoundError",
        f"instance {instance!r}: not in this runner",
    )
    with pytest.raises(ConnectionError):
        await stream.read()


@pytest.mark.parametrize("junk", [b"\xff", b"\x0a\x05a", b"GET / HTTP/1.1\r\n"])
async def test_what_is_no_message_ends_the_stream_and_no_other(stub: Any, junk: bytes) -> None:
    other, stream = await Execution.open(stub.port), await Execution.open(stub.port)
    stream.frames.send((junk,))
    response = await stream.read()
    assert response is not None
    assert response.refusal.error == "InvalidInputError"
    with pytest.raises(ConnectionError):
        await stream.read()
    other.write(pb.ExecuteRequest(calls=[call(1, request(1))]))
    assert set(await replies(other, 1)) == {1}
    other.cancel()


async def test_failures_go_to_the_call_they_belong_to(stub: Any) -> None:
    stream = await Execution.open(stub.port)
    calls = [call(1, request(1)), call(2, b"junk"), call(3, request(-1)), call(4, request(4))]
    stream.write(pb.ExecuteRequest(calls=calls))
    found = await replies(stream, 4)
    assert (values(found[1].response), values(found[4].response)) == ([1], [4])
    assert found[2].failure.error == "InvalidInputError"
    assert found[2].failure.message == "model 'm@1': expected a ModelInferRequest, got 4 bytes that are none"
    assert (found[3].failure.error, found[3].failure.message) == ("ModelExecutionError", "model 'm@1': below 0")
    stream.cancel()


async def test_who_finds_the_queue_full_hears_when_to_try_again(echo: Echo) -> None:
    async with serving(echo, max_queue_size=1) as (stub, _):
        echo.go.clear()
        stream = await Execution.open(stub.port)
        stream.write(pb.ExecuteRequest(calls=[call(1, request(1))]))
        await eventually(lambda: echo.batches)
        stream.write(pb.ExecuteRequest(calls=[call(2, request(2)), call(3, request(3))]))
        failure = (await replies(stream, 1))[3].failure
        assert failure.error == "ExhaustedError"
        assert failure.retry_after_ms > 0
        stream.cancel()


async def test_a_call_that_waited_past_its_deadline_is_not_executed(stub: Any, echo: Echo) -> None:
    echo.go.clear()
    stream = await Execution.open(stub.port)
    stream.write(pb.ExecuteRequest(calls=[call(1, request(1)), call(2, request(2), timeout_us=1)]))
    await eventually(lambda: echo.batches)
    echo.go.set()
    found = await replies(stream, 2)
    assert found[2].failure.error == "DeadlineError"
    assert echo.executed == [1]
    stream.cancel()


async def test_a_call_alone_is_a_batch_of_its_own(echo: Echo) -> None:
    async with serving(echo, max_batch_size=8) as (stub, _):
        echo.go.clear()
        stream = await Execution.open(stub.port)
        stream.write(pb.ExecuteRequest(calls=[call(1, request(1))]))
        await eventually(lambda: echo.batches)
        calls = [call(2, request(2)), call(3, request(3), alone=True), call(4, request(4))]
        stream.write(pb.ExecuteRequest(calls=calls))
        echo.go.set()
        await replies(stream, 4)
        assert echo.batches == [[1], [2, 4], [3]]
        stream.cancel()


async def test_calls_alone_take_turns_over_all_streams_and_each_is_told_before_it_begins(echo: Echo) -> None:
    async with serving(echo, copies=2) as (stub, _):
        echo.go.clear()
        streams = [await Execution.open(stub.port) for _ in range(3)]
        streams[0].write(pb.ExecuteRequest(calls=[call(7, request(0), alone=True)]))
        assert await begun(streams[0]) == [7]
        await eventually(lambda: echo.batches == [[0]])
        for number in (1, 2):
            streams[number].write(pb.ExecuteRequest(calls=[call(7, request(number), alone=True)]))
        ordinary = await Execution.open(stub.port)
        ordinary.write(pb.ExecuteRequest(calls=[call(1, request(9))]))
        await eventually(lambda: [9] in echo.batches)
        streams[1].cancel()  # it waits for its turn; its place goes to the next
        echo.go.set()
        assert values((await replies(streams[0], 1))[7].response) == [0]
        assert await begun(streams[2]) == [7]
        assert values((await replies(streams[2], 1))[7].response) == [2]
        assert [1] not in echo.batches
        for stream in (streams[0], streams[2], ordinary):
            stream.cancel()


async def test_a_turn_is_given_back_when_the_call_that_has_it_is_taken_back(echo: Echo) -> None:
    async with serving(echo) as (stub, models):
        echo.go.clear()
        first, second = await Execution.open(stub.port), await Execution.open(stub.port)
        first.write(pb.ExecuteRequest(calls=[call(1, request(1))]))
        await eventually(lambda: echo.batches)
        first.write(pb.ExecuteRequest(calls=[call(2, request(2), alone=True)]))
        assert await begun(first) == [2]
        await eventually(lambda: models.find("m@1").waiting == 1)
        second.write(pb.ExecuteRequest(calls=[call(1, request(3), alone=True)]))
        first.write(pb.ExecuteRequest(cancelled=[2]))
        assert await begun(second) == [1]
        echo.go.set()
        assert values((await replies(second, 1))[1].response) == [3]
        assert echo.executed == [1, 3]
        for stream in (first, second):
            stream.cancel()


async def test_a_cancelled_call_leaves_the_queue_and_gets_no_reply(echo: Echo) -> None:
    async with serving(echo) as (stub, models):
        echo.go.clear()
        stream = await Execution.open(stub.port)
        stream.write(pb.ExecuteRequest(calls=[call(i, request(i)) for i in (1, 2, 3)]))
        await eventually(lambda: echo.batches)
        stream.write(pb.ExecuteRequest(cancelled=[1, 2, 99]))
        await eventually(lambda: models.find("m@1").waiting == 1)
        echo.go.set()
        found = await replies(stream, 2)
        assert sorted(found) == [1, 3]
        stream.cancel()
        assert echo.executed == [1, 3]


async def test_calls_of_a_front_door_that_dies_leave_the_queue_and_others_stay(echo: Echo) -> None:
    async with serving(echo) as (stub, models):
        echo.go.clear()
        gone, stays = await Execution.open(stub.port), await Execution.open(stub.port)
        gone.write(pb.ExecuteRequest(calls=[call(1, request(1)), call(2, request(2)), call(3, request(3))]))
        await eventually(lambda: echo.batches)
        stays.write(pb.ExecuteRequest(calls=[call(1, request(4))]))
        await eventually(lambda: models.find("m@1").waiting == 3)
        gone.cancel()
        await eventually(lambda: models.find("m@1").waiting == 1)
        echo.go.set()
        assert values((await replies(stays, 1))[1].response) == [4]
        assert echo.executed == [1, 4]
        stays.cancel()


async def test_large_tensors_come_and_go_whole(echo: Echo) -> None:
    many = [float(n) for n in range(1 << 20)]
    async with serving(echo) as (stub, _):
        stream = await Execution.open(stub.port)
        calls = [call(1, request(*many)), call(2, request(7)), call(3, request(*many))]
        stream.write(pb.ExecuteRequest(calls=calls, cancelled=[77, 1 << 40]))
        found = await replies(stream, 3)
        assert np.array_equal(values(found[1].response), many)
        assert values(found[2].response) == [7]
        assert found[3].response == found[1].response
        stream.cancel()


async def test_an_instance_that_is_unloaded_finishes_its_calls_and_its_streams(echo: Echo) -> None:
    async with serving(echo) as (stub, models):
        echo.go.clear()
        stream = await Execution.open(stub.port)
        stream.write(pb.ExecuteRequest(calls=[call(1, request(1)), call(2, request(2))]))
        await eventually(lambda: echo.batches)
        unloading = asyncio.ensure_future(stub.Unload(pb.UnloadRequest(instance="m@1")))
        await eventually(lambda: models.find("m@1")._calls._closed)
        stream.write(pb.ExecuteRequest(calls=[call(3, request(3))]))
        assert (await replies(stream, 1))[3].failure.error == "UnavailableError"
        echo.go.set()
        assert sorted(await replies(stream, 2)) == [1, 2]
        assert await stream.read() is None
        await unloading
        assert echo.closed
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Unload(pb.UnloadRequest(instance="m@1"))
        assert isinstance(error_of(caught.value), NotFoundError)


async def test_an_instance_without_a_version_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Load(pb.LoadRequest(instance="m", format="onnx"))
    assert isinstance(error_of(caught.value), InvalidInputError)


async def test_who_has_named_no_instance_is_given_no_memory(stub: Any) -> None:
    stream = Execution()
    await asyncio.get_running_loop().create_connection(lambda: stream.frames, "127.0.0.1", stub.port)
    assert stream.frames._transport is not None
    stream.frames._transport.write((FIRST_BYTES + 1).to_bytes(4, "big"))  # and nothing of it
    await asyncio.wait_for(stream.frames.closed, 30)
    assert values((await _answer(stub, [1.0] * FIRST_BYTES)).response) == [1.0] * FIRST_BYTES


async def _answer(stub: Any, sent: list[float]) -> pb.Reply:
    stream = await Execution.open(stub.port)
    stream.write(pb.ExecuteRequest(calls=[call(1, request(*sent))]))
    found = await replies(stream, 1)
    stream.cancel()
    return found[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_it_listens_where_grpc_would(host: str) -> None:
    listener = ExecuteListener(Models(1))
    port = await listener.start(host)
    stream = Execution()
    await asyncio.get_running_loop().create_connection(lambda: stream.frames, host.strip("[]"), port)
    stream.write(pb.ExecuteRequest(instance="m@1"))
    answer = await stream.read()
    assert answer is not None
    assert answer.refusal.error == "NotFoundError"
    stream.cancel()
    await listener.close(0)
