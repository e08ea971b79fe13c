from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import ModelExecutionError
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.jobs.assignment import Target
from modelyard_worker.jobs.reader.endings import LostError, UndoneError
from modelyard_worker.jobs.reader.instance import Instance, sizes_of
from tests.runners import FakeRunner, request
from tests.waiting import eventually


@contextlib.asynccontextmanager
async def instance(runner: FakeRunner, silence_s: float = 60.0, copies: int = 1) -> AsyncIterator[Instance]:
    """An instance of a runner that listens."""
    found = Instance(Target("m@1", runner.endpoint, Signature(), copies=copies), silence_s)
    yield found
    await found.close()


async def test_calls_go_in_the_background_and_so_many_at_once() -> None:
    async with FakeRunner().serve() as runner, instance(runner, copies=2) as found:
        runner.go.clear()
        sending = [asyncio.ensure_future(found.send(request(), 1, 0)) for _ in range(5)]
        await runner.received(3)
        runner.go.set()
        answers = await asyncio.gather(*[await sent for sent in sending])
        assert [answer.outcome for answer in answers] == [request()] * 5
        assert all(call.background and not call.timeout_us for call in runner.calls)
        assert runner.metadata == ["m@1"]
        runner.go.clear()
        again = [asyncio.ensure_future(found.send(request(), 1, 0)) for _ in range(5)]
        await eventually(lambda: sum(sent.done() for sent in again) == 3)
        for sent in again:
            sent.cancel()


async def test_what_the_model_says_is_an_outcome_and_what_the_instance_says_is_not() -> None:
    async with FakeRunner().serve() as runner, instance(runner) as found:
        runner.failures = [
            pb.Failure(error="ModelExecutionError", message="no"),
            pb.Failure(error="ExhaustedError", message="the queue is full"),
        ]
        answer = await (await found.send(request(), 1, 0))
        assert isinstance(answer.outcome, ModelExecutionError)
        with pytest.raises(UndoneError, match="m@1: the queue is full"):
            await (await found.send(request(), 1, 0))
        assert (await (await found.send(request(), 1, 0))).outcome == request()


async def test_what_a_runner_refuses_was_never_begun_and_the_next_call_asks_again() -> None:
    async with FakeRunner().serve() as runner, instance(runner) as found:
        runner.refuse = True
        with pytest.raises(UndoneError, match="not here"):
            await (await found.send(request(), 1, 0))
        runner.refuse = False
        assert (await (await found.send(request(), 1, 0))).outcome == request()


async def test_nobody_listens() -> None:
    async with FakeRunner().serve() as runner:
        pass
    async with instance(runner) as found:
        with pytest.raises(UndoneError, match="no connection"):
            await (await found.send(request(), 1, 0))


@pytest.mark.parametrize(("in_order", "kind"), [(True, UndoneError), (False, LostError)])
async def test_a_runner_that_dies_may_have_executed_what_it_had(in_order: bool, kind: type[Exception]) -> None:
    async with FakeRunner().serve() as runner, instance(runner) as found:
        runner.go.clear()
        sent = [await found.send(request(), 1, 0) for _ in range(2)]
        await runner.received(2)
        if in_order:
            runner.end()
        else:
            runner.cut()
        for call in sent:
            with pytest.raises(kind, match="m@1: "):
                await call
        runner.go.set()
        assert (await (await found.send(request(), 1, 0))).outcome == request()


@pytest.mark.parametrize(
    ("shape", "most", "rows", "unit"),
    [((-1, 3, 224, 224), 0, 6, 1), ((-1, 4), 0, 8, 1), ((-1, 4), 2, 2, 1), ((16, 4), 0, 16, 16), ((-1, -1), 0, 8, 1)],
)
async def test_the_first_call_is_short(shape: tuple[int, ...], most: int, rows: int, unit: int) -> None:
    signature = Signature((TensorSpec("x", "FP32", shape),), (TensorSpec("y", "FP32", (-1, 1000)),))
    sizes = sizes_of(Target("m@1", "", signature, max_batch_size=most))
    assert (sizes.rows, sizes.unit) == (rows, unit)


async def test_silence_is_the_end_of_a_call() -> None:
    async with FakeRunner().serve() as runner, instance(runner, silence_s=0.3) as found:
        runner.go.clear()
        with pytest.raises(LostError, match=r"nothing was answered for 0\.3 s"):
            await (await found.send(request(), 1, 0))
        assert await eventually(lambda: runner.cancelled) == [1]


async def test_a_call_that_is_cancelled_is_taken_back() -> None:
    async with FakeRunner().serve() as runner, instance(runner) as found:
        runner.go.clear()
        calls = [await found.send(request(), 1, 0) for _ in range(2)]
        await runner.received(2)
        for call in calls:
            call.cancel()
        await eventually(lambda: len(runner.cancelled) == 2)
        assert sorted(runner.cancelled) == [1, 2]
        runner.go.set()
        assert (await (await found.send(request(), 1, 0))).outcome == request()
