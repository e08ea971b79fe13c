"""An instance: its queue, its threads, and what becomes of every call."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from modelyard.errors import (
    DeadlineError,
    ExhaustedError,
    InvalidInputError,
    ModelExecutionError,
    SequenceError,
    UnavailableError,
)
from modelyard_worker.runner import callqueue
from modelyard_worker.runner.callqueue import CallQueue, Look
from modelyard_worker.runner.loaded import BatchRecord, LoadedModel, Work
from tests.unit.worker.instances import Echo, loaded, request, told, values
from tests.waiting import eventually

Serve = Callable[..., LoadedModel]


class Calls:
    """Calls of an instance, and what became of them in the order in which they were done."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.outcomes: list[tuple[int, Any]] = []

    def submit(self, *requests: bytes, first: int = 0, expires_s: float | None = None, **kind: bool) -> list[Work]:
        works = [
            Work(data, expires_s, lambda outcome, n=n: self.outcomes.append((n, told(outcome))), **kind)  # type: ignore[misc]
            for n, data in enumerate(requests, first)
        ]
        self._model.submit_all(works)
        return works

    async def done(self, count: int) -> dict[int, Any]:
        await eventually(lambda: len(self.outcomes) >= count)
        assert len(self.outcomes) == count
        return dict(self.outcomes)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Load instances that are unloaded at the end."""
    models: list[tuple[LoadedModel, tuple[Echo, ...]]] = []

    def make(*echoes: Echo, **options: Any) -> LoadedModel:
        models.append((loaded(*echoes, **options), echoes))
        return models[-1][0]

    yield make
    for model, echoes in models:
        for echo in echoes:
            echo.go.set()
        await model.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


async def busy(echo: Echo, calls: Calls) -> None:
    """Have a copy at work until it is let go, on call 0."""
    echo.go.clear()
    calls.submit(request(0))
    await eventually(lambda: echo.batches)


async def test_a_call_is_answered_outside_of_the_loops_thread(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    assert values(await model.infer(request(1, 2), None)) == [1, 2]
    assert echo.threads != {threading.get_ident()}


async def test_what_has_queued_up_goes_together(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo, max_batch_size=3))
    await busy(echo, calls)
    calls.submit(*[request(n) for n in (1, 2, 3, 4)], first=1)
    echo.go.set()
    assert await calls.done(5) == {n: [n] for n in range(5)}
    assert echo.batches == [[0], [1, 2, 3], [4]]


async def test_without_a_batch_size_calls_go_one_by_one(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo))
    await busy(echo, calls)
    calls.submit(*[request(n) for n in (1, 2, 3)], first=1)
    echo.go.set()
    await calls.done(4)
    assert echo.batches == [[0], [1], [2], [3]]


async def test_at_most_one_batch_of_a_job_goes_before_a_call(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo, max_batch_size=8))
    echo.go.clear()
    calls.submit(request(0), background=True)
    await eventually(lambda: echo.batches)
    calls.submit(request(1), request(2), first=1, background=True)
    calls.submit(request(3), request(4), first=3)
    echo.go.set()
    await calls.done(5)
    assert echo.batches == [[0], [3, 4], [1], [2]]


async def test_a_call_of_a_job_that_has_waited_for_long_goes_first(
    serve: Serve, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callqueue, "PATIENCE_S", 0.0)
    calls = Calls(serve(echo))
    await busy(echo, calls)
    calls.submit(request(1), first=1)
    calls.submit(request(2), first=2, background=True)
    echo.go.set()
    await calls.done(3)
    assert echo.batches == [[0], [2], [1]]


async def test_calls_of_jobs_take_no_room_from_others(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo, max_queue_size=1))
    await busy(echo, calls)
    calls.submit(*[request(n) for n in (1, 2, 3)], first=1, background=True)
    calls.submit(request(4), request(5), first=4)
    echo.go.set()
    outcomes = await calls.done(6)
    assert "ExhaustedError" in str(outcomes.pop(5))
    assert outcomes == {n: [n] for n in range(5)}


async def test_a_call_of_a_job_leaves_the_queue_when_it_is_cancelled(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    calls = Calls(model)
    await busy(echo, calls)
    cancelled, kept = calls.submit(request(1), request(2), first=1, background=True)
    assert model.cancel(cancelled)
    assert not model.cancel(cancelled)
    echo.go.set()
    assert await calls.done(2) == {0: [0], 2: [2]}
    assert not model.cancel(kept)
    assert echo.batches == [[0], [2]]


async def test_with_two_copies_both_execute_a_job(serve: Serve) -> None:
    echoes = Echo(), Echo()
    calls = Calls(serve(*echoes))
    for echo in echoes:
        echo.go.clear()
    calls.submit(request(0), request(1), background=True)
    await eventually(lambda: all(echo.batches for echo in echoes))
    for echo in echoes:
        echo.go.set()
    assert await calls.done(2) == {0: [0], 1: [1]}


async def test_a_call_alone_is_a_batch_of_its_own(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo, max_batch_size=8))
    await busy(echo, calls)
    calls.submit(request(1), first=1)
    calls.submit(request(2), first=2, alone=True)
    calls.submit(request(3), first=3)
    echo.go.set()
    await calls.done(4)
    assert echo.batches == [[0], [1, 3], [2]]


async def test_priorities(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo))
    await busy(echo, calls)
    calls.submit(request(1), request(2, priority=9), request(3, priority=1), request(4, priority=0), first=1)
    echo.go.set()
    await calls.done(5)
    assert echo.executed == [0, 3, 1, 4, 2]


async def test_a_bad_call_fails_alone(serve: Serve, echo: Echo) -> None:
    model = serve(echo, max_batch_size=8)
    calls = Calls(model)
    await busy(echo, calls)
    calls.submit(request(1), request(-1), b"junk", request(3), first=1)
    echo.go.set()
    assert await calls.done(5) == {0: [0], 1: [1], 2: "ModelExecutionError", 3: "InvalidInputError", 4: [3]}
    with pytest.raises(ModelExecutionError, match="model 'm@1': below 0"):
        await model.infer(request(-1), None)
    with pytest.raises(InvalidInputError, match="model 'm@1': expected a ModelInferRequest"):
        await model.infer(b"junk", None)


async def test_who_finds_the_queue_full_hears_when_to_try_again(serve: Serve, echo: Echo) -> None:
    model = serve(echo, max_queue_size=2)
    calls = Calls(model)
    await busy(echo, calls)
    calls.submit(request(1), request(2), request(3), first=1)
    assert calls.outcomes == [(3, "ExhaustedError")]
    with pytest.raises(ExhaustedError, match="the queue is full: 2 calls wait, at most 2 may") as caught:
        await model.infer(request(4), None)
    assert caught.value.retry_after_s
    assert model.waiting == 2
    echo.go.set()
    await calls.done(4)
    assert model.waiting == 0
    assert model.statistics.snapshot().fail.count == 2


async def test_a_call_whose_deadline_passes_in_the_queue_is_not_executed(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    calls = Calls(model)
    await busy(echo, calls)
    calls.submit(request(1), first=1, expires_s=time.monotonic())
    calls.submit(request(2, timeout=1), first=2)
    calls.submit(request(3, timeout=600_000_000), first=3, expires_s=time.monotonic() + 600)
    echo.go.set()
    assert await calls.done(4) == {0: [0], 1: "DeadlineError", 2: "DeadlineError", 3: [3]}
    assert echo.executed == [0, 3]
    with pytest.raises(DeadlineError):
        await model.infer(request(4), 0.0)


async def test_a_call_that_waits_for_others_does_not_outlive_its_deadline(serve: Serve, echo: Echo) -> None:
    calls = Calls(serve(echo, max_batch_size=2, max_queue_delay_us=600_000_000))
    calls.submit(request(1, timeout=1000))
    assert await calls.done(1) == {0: "DeadlineError"}
    calls.submit(request(2), request(3), first=1)
    assert await calls.done(3) == {0: "DeadlineError", 1: [2], 2: [3]}
    assert echo.batches == [[2, 3]]


async def test_a_cancelled_call_leaves_the_queue(serve: Serve, echo: Echo) -> None:
    model = serve(echo, max_queue_size=2)
    calls = Calls(model)
    await busy(echo, calls)
    first, second = calls.submit(request(1), request(2), first=1)
    assert model.cancel(first)
    assert not model.cancel(first)
    assert model.waiting == 1
    calls.submit(request(3), first=3)
    echo.go.set()
    assert await calls.done(3) == {0: [0], 2: [2], 3: [3]}
    assert not model.cancel(second)
    assert echo.executed == [0, 2, 3]


async def test_a_call_that_was_read_already_can_be_cancelled(serve: Serve, echo: Echo) -> None:
    model = serve(echo, max_batch_size=2, max_queue_delay_us=600_000_000)
    calls = Calls(model)
    (first,) = calls.submit(request(1))
    await eventually(lambda: first.read is not None)
    assert model.cancel(first)
    calls.submit(request(2), request(3), first=1)
    assert await calls.done(2) == {1: [2], 2: [3]}
    assert echo.batches == [[2, 3]]


async def test_who_is_cancelled_while_it_waits_leaves_the_queue(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    calls = Calls(model)
    await busy(echo, calls)
    call = asyncio.ensure_future(model.infer(request(1), None))
    await eventually(lambda: model.waiting == 1)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    assert model.waiting == 0


async def test_copies_share_the_queue(serve: Serve) -> None:
    echoes = [Echo(), Echo(), Echo()]
    model = serve(*echoes)
    for one in echoes:
        one.go.clear()
    calls = Calls(model)
    calls.submit(*[request(n) for n in range(3)])
    await eventually(lambda: all(one.batches for one in echoes))
    calls.submit(*[request(n) for n in range(3, 30)], first=3)
    echoes[0].go.set()
    await eventually(lambda: len(calls.outcomes) == 28)
    for one in echoes:
        one.go.set()
    assert await calls.done(30) == {n: [n] for n in range(30)}
    assert len({thread for one in echoes for thread in one.threads}) == 3


async def test_a_sequence_is_executed_in_order_on_one_copy(serve: Serve) -> None:
    echoes = [Echo(), Echo()]
    calls = Calls(serve(*echoes, max_batch_size=8))
    requests = []
    for n in range(40):
        for sequence in (1, 2):
            facts = {"sequence_id": sequence, "sequence_start": n == 0, "sequence_end": n == 39}
            requests.append(request(100 * sequence + n, priority=1 + n % 9, **facts))
    for position in range(0, 80, 10):
        calls.submit(*requests[position : position + 10], first=position)
        await asyncio.sleep(0)
    await calls.done(80)
    assert sorted(one.batches for one in echoes) == [[[100.0 * s + n] for n in range(40)] for s in (1, 2)]


async def test_a_sequence_has_to_be_started_and_ends(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    with pytest.raises(SequenceError, match="model 'm@1': sequence 'a': expected sequence_start"):
        await model.infer(request(1, sequence_id="a"), None)
    await model.infer(request(1, sequence_id="a", sequence_start=True), None)
    await model.infer(request(2, sequence_id="a"), None)
    await model.infer(request(3, sequence_id="a", sequence_end=True), None)
    with pytest.raises(SequenceError):
        await model.infer(request(4, sequence_id="a"), None)
    assert echo.executed == [1, 2, 3]


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads take turns as often as can be, so that they meet at every step."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


async def test_a_call_that_comes_between_a_copys_look_and_its_sleep_is_not_left(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve(Echo(), Echo())
    looked, go, look = threading.Event(), threading.Event(), CallQueue.look

    def slow(calls: CallQueue, copy: int) -> Look:
        found = look(calls, copy)
        if copy == 1 and not found.batch:
            looked.set()
            go.wait(30)
        return found

    assert await model.infer(request(1, sequence_id=1, sequence_start=True), 30)  # it goes to copy 1
    monkeypatch.setattr(CallQueue, "look", slow)
    model._executor._wakes[1].put(None)
    await eventually(looked.is_set)
    calls = Calls(model)
    (call,) = calls.submit(request(2, sequence_id=1))
    await eventually(lambda: call.read is not None)
    go.set()
    assert await calls.done(1) == {0: [2]}


@pytest.mark.usefixtures("restless")
async def test_a_call_of_a_sequence_reaches_its_copy_however_that_falls_asleep(serve: Serve) -> None:
    echoes = [Echo(), Echo(), Echo()]
    model = serve(*echoes)
    for n in range(600):
        facts = {"sequence_id": n % 3 + 1, "sequence_start": n < 3}
        assert values(await model.infer(request(n, **facts), 30)) == [n]


@pytest.mark.usefixtures("restless")
async def test_a_call_reaches_a_copy_however_they_fall_asleep(serve: Serve) -> None:
    model = serve(Echo(), Echo())
    for n in range(300):
        assert await asyncio.gather(*[model.infer(request(n), 30) for _ in range(1 + n % 3)])


async def test_what_is_queued_is_finished_before_the_end(serve: Serve, echo: Echo) -> None:
    model = serve(echo)
    calls = Calls(model)
    await busy(echo, calls)
    calls.submit(*[request(n) for n in range(1, 20)], first=1)
    closing = asyncio.ensure_future(model.close())
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="model 'm@1': it is being unloaded"):
        await model.infer(request(1), None)
    assert not echo.closed
    assert not model.ended.done()
    echo.go.set()
    await closing
    assert await calls.done(20) == {n: [n] for n in range(20)}
    assert echo.closed
    assert model.ended.done()


async def test_what_waits_for_others_is_finished_before_the_end(serve: Serve, echo: Echo) -> None:
    model = serve(echo, max_batch_size=2, max_queue_delay_us=50_000)
    calls = Calls(model)
    calls.submit(request(1))
    await model.close()
    assert await calls.done(1) == {0: [1]}


async def test_each_batch_is_observed_and_counted(serve: Serve, echo: Echo) -> None:
    records: list[BatchRecord] = []
    model = serve(echo, max_batch_size=8, records=records)
    calls = Calls(model)
    await busy(echo, calls)
    calls.submit(request(1), request(2, 3), request(-1), first=1)
    echo.go.set()
    await calls.done(4)
    await eventually(lambda: len(records) == 2)
    assert [(r.rows, len(r.queue_s), r.failed) for r in records] == [(1, 1, 0), (4, 3, 1)]
    counted = model.statistics.snapshot()
    assert (counted.success.count, counted.fail.count, counted.execution_count) == (3, 1, 2)
    assert sorted(counted.batches) == [1, 4]
    assert counted.last_inference_ms > 0


async def test_a_storm_of_calls_and_cancellations_settles_every_call_once(serve: Serve) -> None:
    echoes = [Echo(), Echo()]
    model = serve(*echoes, max_batch_size=4, max_queue_delay_us=200, preferred_batch_sizes=(2,))
    calls = Calls(model)
    cancelled = 0
    for round_ in range(100):
        works = calls.submit(*[request(n) for n in range(10)], first=round_ * 10)
        await asyncio.sleep(0)
        cancelled += sum(model.cancel(work) for work in works[:: 1 + round_ % 5])
    done = await calls.done(1000 - cancelled)
    assert all(outcome == [n % 10] for n, outcome in done.items())
    assert model.waiting == 0
