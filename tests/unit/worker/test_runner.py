"""The runner's execute stream: calls in, replies out, whatever becomes of either side."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.server import Server
from modelyard.rpc.status import INSTANCE_KEY, error_of
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.evaluation import Evaluator
from modelyard_worker.runner.executor import Executor, Work
from modelyard_worker.runner.servicer import RunnerServicer
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]


class Echo(Evaluator):
    """Answers a request with itself, when it is let go; notes what it executed, and in which thread."""

    def __init__(self) -> None:
        self.executed: list[bytes] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()

    def infer(self, data: bytes) -> bytes:
        self.executed.append(data)
        self.threads.add(threading.get_ident())
        self.go.wait(30)
        if data == b"invalid":
            raise InvalidInputError("bad input")
        if data == b"broken":
            raise ZeroDivisionError("a bug of ours")
        return data


OF_INSTANCE = ((INSTANCE_KEY, "m@1"),)


@contextlib.asynccontextmanager
async def serving(echo: Echo) -> AsyncIterator[Any]:
    executor = Executor(echo, asyncio.get_running_loop())
    server = Server("runner")
    server.add(SERVICE, RunnerServicer({"m@1": executor}))
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        yield Stub(channel, SERVICE)
    echo.go.set()
    await server.stop(0)
    await executor.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def stub(echo: Echo) -> AsyncIterator[Any]:
    async with serving(echo) as found:
        yield found


def call(number: int, request: bytes, *, timeout_us: int = 0) -> pb.Call:
    return pb.Call(id=number, request=request, timeout_us=timeout_us)


async def replies(stream: Any, count: int) -> dict[int, pb.Reply]:
    found: dict[int, pb.Reply] = {}
    while len(found) < count:
        found |= {r.id: r for r in (await stream.read()).replies}
    return found


async def test_calls_of_one_message_and_of_many_are_answered(stub: Any, echo: Echo) -> None:
    stream = stub.Execute(metadata=OF_INSTANCE)
    await stream.write(pb.ExecuteRequest(calls=[call(i, b"%d" % i) for i in range(50)]))
    for i in range(50, 60):
        await stream.write(pb.ExecuteRequest(calls=[call(i, b"%d" % i)]))
    found = await replies(stream, 60)
    assert {i: r.response for i, r in found.items()} == {i: b"%d" % i for i in range(60)}
    assert echo.executed == [b"%d" % i for i in range(60)]
    assert echo.threads != {threading.get_ident()}
    assert len(echo.threads) == 1
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]


async def test_the_stream_is_accepted_before_the_first_call(stub: Any) -> None:
    stream = stub.Execute(metadata=((INSTANCE_KEY, "m@1"),))
    assert dict(await asyncio.wait_for(stream.initial_metadata(), 30)) == {INSTANCE_KEY: "m@1"}
    stream.cancel()


async def test_a_stream_for_another_instance_is_refused(stub: Any) -> None:
    stream = stub.Execute(metadata=((INSTANCE_KEY, "other@1"),))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert isinstance(error_of(caught.value), NotFoundError)


async def test_failures_go_to_the_call_they_belong_to(stub: Any) -> None:
    stream = stub.Execute(metadata=OF_INSTANCE)
    calls = [call(1, b"x"), call(2, b"invalid"), call(3, b"broken"), call(4, b"y")]
    await stream.write(pb.ExecuteRequest(calls=calls))
    found = await replies(stream, 4)
    assert (found[1].response, found[4].response) == (b"x", b"y")
    assert (found[2].failure.error, found[2].failure.message) == ("InvalidInputError", "bad input")
    assert (found[3].failure.error, found[3].failure.message) == (
        "InternalError",
        "internal error in the runner; its log has the stack",
    )
    stream.cancel()


async def test_a_call_that_waited_past_its_deadline_is_not_executed(stub: Any, echo: Echo) -> None:
    echo.go.clear()
    stream = stub.Execute(metadata=OF_INSTANCE)
    await stream.write(pb.ExecuteRequest(calls=[call(1, b"first"), call(2, b"late", timeout_us=1)]))
    await eventually(lambda: echo.executed)
    echo.go.set()
    found = await replies(stream, 2)
    assert found[2].failure.error == "DeadlineError"
    assert echo.executed == [b"first"]
    stream.cancel()


async def test_the_front_doors_end_of_the_stream_is_not_the_end_of_its_calls(stub: Any, echo: Echo) -> None:
    echo.go.clear()
    stream = stub.Execute(metadata=OF_INSTANCE)
    await stream.write(pb.ExecuteRequest(calls=[call(1, b"x"), call(2, b"y")]))
    await stream.done_writing()
    await eventually(lambda: echo.executed)
    echo.go.set()
    assert set(await replies(stream, 2)) == {1, 2}
    assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]


async def test_a_front_door_that_dies_does_not_disturb_another(stub: Any, echo: Echo) -> None:
    echo.go.clear()
    gone, stays = stub.Execute(metadata=OF_INSTANCE), stub.Execute(metadata=OF_INSTANCE)
    await gone.write(pb.ExecuteRequest(calls=[call(1, b"gone")]))
    await eventually(lambda: echo.executed)
    await stays.write(pb.ExecuteRequest(calls=[call(1, b"stays")]))
    gone.cancel()
    echo.go.set()
    assert (await replies(stays, 1))[1].response == b"stays"
    stays.cancel()


async def test_an_executor_finishes_what_is_queued_before_it_closes(echo: Echo) -> None:
    executor = Executor(echo, asyncio.get_running_loop())
    outcomes: list[Any] = []
    echo.go.clear()
    for number in range(20):
        executor.submit(Work(b"%d" % number, None, outcomes.append))
    closing = asyncio.ensure_future(executor.close())
    echo.go.set()
    await closing
    await eventually(lambda: len(outcomes) == 20)
    assert outcomes == [b"%d" % n for n in range(20)]


async def test_a_deadline_that_has_not_passed_does_no_harm(echo: Echo) -> None:
    executor = Executor(echo, asyncio.get_running_loop())
    outcomes: list[Any] = []
    executor.submit(Work(b"x", time.monotonic() + 600, outcomes.append))
    await executor.close()
    await eventually(lambda: outcomes == [b"x"])
