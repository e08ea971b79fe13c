"""The replies of one execute stream, as messages; and its calls, when one of the two ends is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from modelyard.errors import InvalidInputError
from modelyard.rpc.frames import Frames
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner import executor
from modelyard_worker.runner.callstream import MAX_MESSAGE_BYTES, CallStream
from modelyard_worker.runner.loaded import LoadedModel
from tests.executing import Execution
from tests.unit.worker.instances import Echo, loaded, request
from tests.waiting import eventually


@contextlib.asynccontextmanager
async def connected(model: LoadedModel) -> AsyncIterator[tuple[CallStream, Execution]]:
    """A stream of a model, and the front door's end of it."""
    streams: list[CallStream] = []

    def accept() -> Frames:
        frames = Frames(lambda _: None, on_writable=on_writable)
        streams.append(CallStream(model, asyncio.Lock(), frames))
        return frames

    def on_writable() -> None:
        streams[0].send_soon()

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    other = await Execution.begin(server.sockets[0].getsockname()[1])
    await eventually(lambda: streams)
    try:
        yield streams[0], other
    finally:
        other.cancel()
        server.close()
        await model.close()


def message(*calls: pb.Call) -> bytes:
    return bytes(pb.ExecuteRequest(calls=calls).SerializeToString())


async def test_a_large_reply_has_a_message_of_its_own() -> None:
    async with connected(loaded(Echo())) as (stream, other):
        large = request(*[0.0] * (MAX_MESSAGE_BYTES // 4))
        stream._sending = asyncio.get_running_loop().call_later(600, lambda: None)  # nothing is sent before all is done
        stream.receive(message(*[pb.Call(id=i, request=r) for i, r in enumerate((request(1), request(2), large))]))
        stream.receive(message(pb.Call(id=3, request=request(3))))
        await eventually(lambda: len(stream._done) == 4)
        stream._sending.cancel()
        stream._send()
        assert [[r.id for r in await other.replies()] for _ in range(3)] == [[0, 1], [2], [3]]


async def test_replies_wait_for_a_front_door_that_does_not_keep_up() -> None:
    async with connected(loaded(Echo())) as (stream, other):
        stream._frames.pause_writing()
        stream.receive(message(pb.Call(id=1, request=request(1)), pb.Call(id=2, request=request(2))))
        await eventually(lambda: len(stream._done) == 2)
        assert stream._sending is None
        stream._frames.resume_writing()
        assert [r.id for r in await other.replies()] == [1, 2]


async def test_the_end_is_told_when_all_calls_have_their_replies() -> None:
    echo = Echo()
    async with connected(loaded(echo)) as (stream, other):
        echo.go.clear()
        stream.receive(message(pb.Call(id=1, request=request(1)), pb.Call(id=2, request=request(2), alone=True)))
        await eventually(lambda: echo.batches)
        stream.end()
        stream.receive(message(pb.Call(id=3, request=request(3))))  # too late: it is neither executed nor answered
        echo.go.set()
        seen: list[int] = []
        while (response := await other.read()) is not None:
            seen += [r.id for r in response.replies if r.WhichOneof("outcome")]
        assert seen == [1, 2]
        assert echo.executed == [1, 2]


async def test_a_call_that_is_alone_is_not_executed_if_its_front_door_could_not_be_told() -> None:
    echo = Echo()
    async with connected(loaded(echo)) as (stream, other):
        other.cancel()
        await stream._frames.closed
        stream.receive(message(pb.Call(id=1, request=request(1), alone=True)))
        await eventually(lambda: not stream._suspects)
        assert not stream._turn.locked()
        assert echo.executed == []


@pytest.mark.parametrize("alone", [[True, True], [True, False], [False, True]])
async def test_two_calls_under_way_cannot_have_one_id(alone: list[bool]) -> None:
    echo = Echo()
    async with connected(loaded(echo)) as (stream, _):
        echo.go.clear()
        with pytest.raises(InvalidInputError, match="another call under way has it"):
            stream.receive(message(*[pb.Call(id=1, request=request(n), alone=a) for n, a in enumerate(alone)]))
        stream.cancel()
        echo.go.set()
        await eventually(lambda: not stream._turn.locked())


async def test_what_comes_at_once_of_a_quick_model_is_executed_and_answered_before_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "TURN_S", 60.0)  # this process may be kept from its processor for any time
    echo = Echo()
    model = loaded(echo)
    async with connected(model) as (stream, other):
        while not model._executor._pace.quick:
            await model.infer(request(0), None)
        await eventually(lambda: not model._executor._owned[0].locked())
        echo.batches.clear()
        stream.receive(message(pb.Call(id=1, request=request(1)), pb.Call(id=2, request=request(2))))
        assert echo.batches == []
        stream.execute()
        assert echo.executed == [1, 2]
        assert not stream._done
        assert [r.id for r in await other.replies()] == [1, 2]
