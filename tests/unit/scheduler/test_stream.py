"""The execute stream against a runner over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from modelyard.errors import ExhaustedError, InvalidInputError, UnavailableError
from modelyard.rpc import lane as lane_module
from modelyard.rpc.frames import Frames
from modelyard.rpc.lane import LARGE_BYTES, MESSAGE_BYTES, InstanceLostError, Lane
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor import stream as stream_module
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from tests.runners import FakeRunner
from tests.waiting import eventually


@contextlib.asynccontextmanager
async def opened(runner: FakeRunner) -> AsyncIterator[ExecuteStream]:
    """A connected stream; at the end it is closed."""
    stream = ExecuteStream(runner.instance, lambda: None)
    try:
        await eventually(lambda: stream.usable)
        yield stream
    finally:
        await stream.close()


async def test_every_call_gets_its_own_reply() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        requests = [b"%d" % i for i in range(200)]
        assert await asyncio.gather(*(stream.call(r, None) for r in requests)) == requests
        assert runner.metadata == ["m@1"]
        assert stream.outstanding == 0
        assert not stream._lane._pending


async def test_calls_at_hand_share_a_message() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        await asyncio.gather(*(stream.call(b"x", None) for _ in range(100)))
        assert sum(runner.messages) == 100
        assert len(runner.messages) < 100


async def test_what_is_left_of_the_deadline_travels_with_the_call() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        await stream.call(b"x", 1.5)
        await stream.call(b"x", None)
        await stream.call(b"x", 1e-9)
        assert [c.timeout_us for c in runner.calls] == [1_500_000, 0, 1]


async def test_a_failure_is_raised_as_the_error_that_it_names() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.failure = pb.Failure(error="InvalidInputError", message="bad", retry_after_ms=0)
        with pytest.raises(InvalidInputError, match="bad"):
            await stream.call(b"x", None)
        runner.failure = pb.Failure(error="ExhaustedError", message="full", retry_after_ms=250)
        with pytest.raises(ExhaustedError) as caught:
            await stream.call(b"x", None)
        assert caught.value.retry_after_s == 0.25


async def test_a_broken_stream_loses_its_calls_and_connects_anew() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await runner.received(1)
        runner.cut()
        with pytest.raises(InstanceLostError) as lost:
            await call
        assert lost.value.executing
        await eventually(lambda: stream.usable)
        runner.go.set()
        assert await stream.call(b"y", None) == b"y"


async def test_a_call_that_was_never_sent_is_known_not_to_have_been_executing() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        stream._lane._frames.pause_writing()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await asyncio.sleep(0)  # it is in the outbox now
        stream._lane.lose(died=True)
        with pytest.raises(InstanceLostError) as lost:
            await call
        assert not lost.value.executing
        assert runner.calls == []


async def test_a_call_that_is_the_only_one_is_sent_at_once() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        first, second = stream.call(b"1", None), stream.call(b"2", None)
        first.send(None)
        assert (stream._lane._last_sent, stream._lane._flushing) == (1, None)
        second.send(None)  # while another is outstanding there may be more to come
        assert stream._lane._last_sent == 1
        assert stream._lane._flushing is not None
        await runner.received(2)
        first.close()
        second.close()


async def test_when_calls_are_lost_the_stream_is_no_longer_usable() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        usable = []

        async def call() -> None:
            with pytest.raises(InstanceLostError):
                await stream.call(b"x", None)
            usable.append(stream.usable)

        calls = [asyncio.ensure_future(call()) for _ in range(10)]
        await runner.received(1)
        runner.cut()
        await asyncio.gather(*calls)
        assert usable == [False] * 10


async def test_what_the_runner_ends_in_order_was_not_killed_by_its_calls() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await runner.received(1)
        runner.end()
        with pytest.raises(InstanceLostError) as lost:
            await call
        assert not lost.value.executing


async def test_a_call_on_a_stream_that_is_not_connected_was_not_executing() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.refuse = True
        runner.cut()
        await eventually(lambda: not stream.usable)
        with pytest.raises(InstanceLostError) as lost:
            await stream.call(b"x", None)
        assert not lost.value.executing


async def test_a_client_that_leaves_takes_its_call_out_of_the_runners_queue() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        calls = [asyncio.ensure_future(stream.call(b"%d" % i, None)) for i in range(3)]
        await runner.received(3)
        calls[1].cancel()
        await eventually(lambda: runner.cancelled)
        assert runner.cancelled == [runner.calls[1].id]
        assert stream.outstanding == 2
        runner.go.set()
        assert [await calls[0], await calls[2]] == [b"0", b"2"]


async def test_a_large_call_has_a_lane_of_its_own() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        large = [bytes([i]) * LARGE_BYTES for i in range(3)]
        answers = await asyncio.gather(*(stream.call(r, 30.0, alone=i == 1) for i, r in enumerate((*large, b"small"))))
        assert answers == [*large, b"small"]
        assert runner.metadata == ["m@1"] * 2
        assert [c.alone for c in runner.calls if len(c.request) > 5] == [False, True, False]
        assert all(0 < c.timeout_us <= 30_000_000 for c in runner.calls)
        assert stream.outstanding == 0


async def test_a_large_call_that_fails_or_is_lost() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        large = b"x" * LARGE_BYTES
        runner.failures = [pb.Failure(error="InvalidInputError", message="bad" * LARGE_BYTES)]
        with pytest.raises(InvalidInputError):
            await stream.call(large, None)
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(large, None))
        await runner.received(2)
        runner.cut()
        with pytest.raises(InstanceLostError) as lost:
            await call
        assert lost.value.executing
        await eventually(lambda: len(runner.metadata) == 3 and stream.usable)  # it broke, and is there again
        runner.go.set()
        assert await stream.call(large, None) == large


async def test_a_large_call_is_answered_when_the_runner_has_ended_the_other_lane_in_order() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        (small,) = runner.streams
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x" * LARGE_BYTES, None))
        await runner.received(1)
        runner.refuse = runner.ending = True
        small.end()
        await eventually(lambda: not stream.connected)
        runner.go.set()
        assert await call == b"x" * LARGE_BYTES


async def test_a_large_lane_that_is_not_ended_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LAST_S", 0.01)
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        (small,) = runner.streams
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x" * LARGE_BYTES, None))
        await runner.received(1)
        runner.ending = True
        small.end()
        with pytest.raises(InstanceLostError):
            await call
        await eventually(lambda: stream.usable)


async def test_a_large_lane_that_ends_before_it_has_begun_loses_its_calls() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        _, reply = stream._large_lane().submit(b"x" * LARGE_BYTES)
        await stream._end_large()
        with pytest.raises(InstanceLostError) as lost:
            await reply
        assert not lost.value.executing


async def test_no_message_grows_beyond_what_a_server_takes() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        size = LARGE_BYTES - 1
        await asyncio.gather(*(stream.call(b"x" * size, None) for _ in range(40)))
        assert max(runner.messages) * size <= MESSAGE_BYTES + size


async def test_a_runner_that_refuses_the_stream_gets_no_calls_until_it_accepts() -> None:
    runner = FakeRunner()
    runner.refuse = True
    async with runner.serve():
        usable: list[bool] = []
        stream = ExecuteStream(runner.instance, lambda: usable.append(stream.usable))
        await eventually(lambda: len(runner.metadata) >= 3)
        assert not any(usable)
        runner.refuse = False
        await eventually(lambda: stream.usable)
        await stream.close()


async def test_a_cancelled_call_that_was_not_sent_yet_is_not_sent() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        stream._lane._frames.pause_writing()
        cancelled = stream.call(b"1", None)
        cancelled.send(None)  # it is in the outbox now
        cancelled.close()
        stream._lane._frames.resume_writing()
        assert await stream.call(b"2", None) == b"2"
        assert [c.request for c in runner.calls] == [b"2"]
        assert stream.outstanding == 0


async def test_a_cancelled_call_that_was_not_sent_yet_leaves_nothing_behind() -> None:
    lane = Lane("m@1")  # its writer is blocked
    for _ in range(10):
        call_id, reply = lane.submit(b"x" * LARGE_BYTES)
        reply.cancel()
        lane.forget(call_id)
    assert not lane._outbox
    assert not lane._cancelled


async def test_the_late_reply_of_a_cancelled_call_is_dropped() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"1", None))
        await runner.received(1)
        call.cancel()
        runner.go.set()
        assert await stream.call(b"2", None) == b"2"


async def test_draining_finishes_what_is_under_way_and_takes_nothing_new() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        calls = [asyncio.ensure_future(stream.call(b"x", None)) for _ in range(5)]
        await runner.received(1)
        drain = asyncio.ensure_future(stream.drain())
        await eventually(lambda: not stream.usable)
        runner.go.set()
        assert await asyncio.gather(*calls) == [b"x"] * 5
        await drain
        assert not stream.connected
        await eventually(lambda: not runner.streams)


async def test_a_stream_that_breaks_while_it_drains_loses_its_calls_and_ends() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await runner.received(1)
        drain = asyncio.ensure_future(stream.drain())
        await eventually(lambda: not stream.usable)
        runner.cut()
        with pytest.raises(InstanceLostError):
            await call
        await drain


async def test_draining_a_stream_that_is_not_connected_ends_at_once() -> None:
    runner = FakeRunner()
    async with runner.serve():
        pass
    stream = ExecuteStream(runner.instance, lambda: None)
    await stream.drain()


async def test_close_loses_what_is_under_way() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await runner.received(1)
        await stream.close()
        with pytest.raises(InstanceLostError):
            await call


async def test_reserved_waits_for_those_inside_and_keeps_others_out() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        inside = asyncio.ensure_future(stream.call(b"in", None))
        await runner.received(1)
        order = []

        async def alone() -> None:
            async with stream.reserved():
                order.append(stream.outstanding)
                assert await stream.call(b"alone", None) == b"alone"
                assert not stream.usable

        waiting = asyncio.ensure_future(alone())
        await eventually(lambda: not stream.usable)
        runner.go.set()
        assert await inside == b"in"
        await waiting
        assert order == [0]
        assert stream.usable


async def test_reserved_raises_if_the_stream_breaks_first() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.go.clear()
        inside = asyncio.ensure_future(stream.call(b"in", None))
        await runner.received(1)

        async def alone() -> None:
            async with stream.reserved():
                raise AssertionError("nobody was to get in")

        waiting = asyncio.ensure_future(alone())
        await eventually(lambda: not stream.usable)
        runner.cut()
        with pytest.raises(InstanceLostError) as lost:
            await waiting
        assert not lost.value.executing
        with pytest.raises(InstanceLostError):
            await inside


async def test_every_change_is_told() -> None:
    changes = []
    async with FakeRunner().serve() as runner:
        stream = ExecuteStream(runner.instance, lambda: changes.append(stream.usable))
        await eventually(lambda: stream.usable)
        assert changes == [True]
        runner.cut()
        await eventually(lambda: len(changes) >= 3)
        assert changes[:3] == [True, False, True]
        async with stream.reserved():
            pass
        assert changes[-1]
        await stream.close()
        assert not changes[-1]


async def test_what_the_lane_takes_when_the_connection_has_gone_was_not_sent() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        stream._lane._frames.abort("cut")
        with pytest.raises(InstanceLostError) as lost:
            await stream.call(b"x", None)
        assert not lost.value.sent
        assert not lost.value.executing


async def test_a_lane_that_nothing_accepts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "ACCEPT_S", 0.05)
    server = await asyncio.get_running_loop().create_server(lambda: Frames(lambda _: None), "127.0.0.1", 0)
    endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(UnavailableError, match="nothing accepted the stream"):
        await asyncio.wait_for(Lane("m@1").converse(endpoint, lambda: None), 30)
    server.close()


async def test_a_lane_that_was_given_up_before_it_connected_keeps_no_memory() -> None:
    assert not len(Lane("m@1")._frames._view)


async def test_large_calls_that_are_lost_at_once_are_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "LARGE_PAUSE_S", 600.0)
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        runner.refuse = True
        with pytest.raises(InstanceLostError):
            await stream.call(b"x" * LARGE_BYTES, None)
        runner.refuse = False
        call = asyncio.ensure_future(stream.call(b"x" * LARGE_BYTES, None))
        assert await stream.call(b"small", None) == b"small"
        assert len(runner.metadata) == 2
        runner.cut()  # who waits is lost with the stream
        with pytest.raises(InstanceLostError) as lost:
            await call
        assert not lost.value.executing


async def test_a_stream_that_is_closed_while_it_ends_its_large_lane_loses_its_calls() -> None:
    async with FakeRunner().serve() as runner, opened(runner) as stream:
        _, reply = stream._large_lane().submit(b"x" * LARGE_BYTES)
        ending = stream._end_large()
        ending.send(None)  # it waits now, and the lane's task has not begun
        with pytest.raises(asyncio.CancelledError):
            ending.throw(asyncio.CancelledError)
        with pytest.raises(InstanceLostError):
            await asyncio.wait_for(reply, 30)
