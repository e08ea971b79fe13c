"""Who executes the calls of an instance, when something goes wrong or takes long too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard.oip.tensors import Array
from modelyard_worker.runner import executor
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.loaded import BatchRecord, LoadedModel, Work
from tests.unit.worker.instances import Echo, loaded, request, told, values
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 10
DOOMED = """
import asyncio
import sys
from modelyard_worker.runner.callqueue import CallQueue
from tests.unit.worker.instances import Echo, loaded, request

def look(calls, copy):
    raise MemoryError("no more")

async def main():
    model = loaded(Echo())
    while int(sys.argv[1]) and not model._executor._pace.quick:
        await model.infer(request(1), None)
    CallQueue.look = look
    await model.infer(request(1), None)

asyncio.run(main())
"""


class Stuck(Echo):
    """Is quick below 1."""

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        return super().run(inputs, outputs) if inputs["x"].max() >= 1 else {"y": inputs["x"]}


async def test_what_is_done_is_told_however_long_the_next_batch_takes() -> None:
    echo, done = Stuck(), []
    model = loaded(echo)
    for _ in range(3):
        await model.infer(request(0), None)
    echo.go.clear()
    model.submit_all([Work(request(value), None, lambda outcome: done.append(told(outcome))) for value in (0, 0, 1)])
    await eventually(lambda: done == [[0], [0]], TIMEOUT_S)
    echo.go.set()
    await model.close()
    assert done == [[0], [0], [1]]


async def test_what_is_left_of_a_batch_is_due_while_its_copy_is_busy() -> None:
    echoes = [Echo(), Echo()]
    model = loaded(*echoes, max_batch_size=4, max_queue_delay_us=20_000)
    for echo in echoes:
        echo.go.clear()
    model.submit_all([Work(request(n), None, lambda _: None) for n in range(6)])
    await eventually(lambda: sorted(map(len, [b for e in echoes for b in e.batches])) == [2, 4], TIMEOUT_S)
    for echo in echoes:
        echo.go.set()
    await model.close()


class Full(list[BatchRecord]):
    """Takes no record."""

    def append(self, record: BatchRecord) -> None:
        raise OSError("no space left on device")


async def test_a_batch_that_cannot_be_measured_is_answered() -> None:
    model = loaded(Echo(), records=Full())
    for n in range(3):
        assert values(await model.infer(request(n), TIMEOUT_S)) == [n]
    await model.close()


class Unclosable(Echo):
    """Cannot give its memory back."""

    def close(self) -> None:
        raise RuntimeError("the device is gone")


async def test_an_instance_whose_engine_cannot_be_closed_ends() -> None:
    echo = Echo()
    model = loaded(Unclosable(), echo)
    await model.close()
    assert echo.closed
    assert model.ended.done()


async def test_a_caller_that_fails_does_not_keep_the_others_from_their_answers() -> None:
    done: list[Outcome] = []

    def fail(outcome: Outcome) -> None:
        raise ValueError("the caller's own")

    echo = Echo()
    model = loaded(echo, max_batch_size=4)
    model.submit_all([Work(request(1), None, fail), Work(request(2), None, done.append)])
    await eventually(lambda: len(done) == 1, TIMEOUT_S)
    assert told(done[0]) == [2]
    await model.close()


@pytest.mark.parametrize("quick", ["0", "1"])
def test_a_runner_whose_executor_fails_ends_with_its_reason_in_the_log(quick: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DOOMED, quick], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert b"the runner ends" in ended.stderr
    assert b"MemoryError: no more" in ended.stderr


class Exclusive(Echo):
    """Must not be executed on twice at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._free = threading.Lock()

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        assert self._free.acquire(blocking=False)
        try:
            return super().run(inputs, outputs)
        finally:
            self._free.release()


async def quick(model: LoadedModel, echo: Echo) -> None:
    """Call a model until it is known to be quick, and forget that."""
    await eventually(lambda: _called_and_quick(model))
    await eventually(lambda: not model._executor._owned[0].locked())
    echo.batches.clear()
    echo.threads.clear()


async def _called_and_quick(model: LoadedModel) -> bool:
    await model.infer(request(0), None)
    return model._executor._pace.quick


async def test_a_quick_model_is_executed_in_the_loop_and_what_comes_in_one_turn_goes_together() -> None:
    echo = Echo()
    model = loaded(echo, max_batch_size=8)
    await quick(model, echo)
    answers = await asyncio.gather(*(model.infer(request(n), None) for n in range(5)))
    assert [values(a) for a in answers] == [[n] for n in range(5)]
    assert echo.batches == [[0, 1, 2, 3, 4]]
    assert echo.threads == {threading.get_ident()}
    await model.close()


async def test_a_large_call_of_a_quick_model_is_left_to_the_thread() -> None:
    echo = Echo()
    model = loaded(echo)
    await quick(model, echo)
    large = [1.0] * (executor.SMALL_BYTES // 4)
    assert values(await model.infer(request(*large), None)) == large
    assert threading.get_ident() not in echo.threads
    await model.close()


async def test_a_large_call_is_left_to_the_thread_whatever_else_the_loop_is_to_execute() -> None:
    echo = Echo()
    model = loaded(echo)
    await quick(model, echo)
    large = [1.0] * (executor.SMALL_BYTES // 4)
    answers = await asyncio.gather(*(model.infer(request(*sent), None) for sent in ([1.0], large, [2.0])))
    assert [values(a) for a in answers] == [[1], large, [2]]
    assert threading.get_ident() not in echo.threads
    await quick(model, echo)
    await model.infer(request(3), None)
    assert echo.threads == {threading.get_ident()}
    await model.close()


@pytest.mark.parametrize("kind", ["alone", "background"])
async def test_a_call_that_is_alone_or_of_a_job_is_left_to_the_thread(kind: str) -> None:
    echo, done = Echo(), []
    model = loaded(echo)
    await quick(model, echo)
    model.submit(Work(request(1), None, lambda outcome: done.append(told(outcome)), **{kind: True}))
    await eventually(lambda: done == [[1]], TIMEOUT_S)
    assert threading.get_ident() not in echo.threads
    await model.close()


@pytest.mark.parametrize("options", [{"max_queue_delay_us": 1}, {"copies": 2}])
async def test_where_calls_wait_for_others_or_for_copies_the_loop_executes_none(options: dict[str, Any]) -> None:
    echo = Echo()
    model = loaded(echo, *[echo] * (options.pop("copies", 1) - 1), **options)
    await quick(model, echo)
    await model.infer(request(1), None)
    assert threading.get_ident() not in echo.threads
    await model.close()


async def test_the_loop_does_not_execute_at_a_stretch_what_the_thread_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "TURN_S", 0.0)
    echo = Echo()
    model = loaded(echo)
    await quick(model, echo)
    answers = await asyncio.gather(*(model.infer(request(n), None) for n in range(5)))
    assert [values(a) for a in answers] == [[n] for n in range(5)]
    assert echo.executed == [0, 1, 2, 3, 4]
    assert len(echo.threads) == 2
    await model.close()


async def test_while_the_thread_executes_the_loop_does_not() -> None:
    echo = Exclusive()
    model = loaded(echo)
    await quick(model, echo)
    echo.go.clear()
    first = asyncio.ensure_future(model.infer(request(*[1.0] * executor.SMALL_BYTES), None))
    await eventually(lambda: echo.batches)
    second = asyncio.ensure_future(model.infer(request(2), None))
    await eventually(lambda: model.waiting == 1)
    assert model._executor._turn is None
    echo.go.set()
    assert values(await second) == [2]
    await first
    await model.close()


async def test_a_storm_of_calls_of_a_quick_model_settles_every_call_once() -> None:
    echo, done = Exclusive(), []
    model = loaded(echo, max_batch_size=4)
    await quick(model, echo)
    cancelled = 0
    for number in range(300):
        works = [Work(request(n), None, lambda outcome: done.append(told(outcome))) for n in range(number % 9)]
        model.submit_all(works)
        if number % 3:
            await asyncio.sleep(0)
        cancelled += sum(model.cancel(work) for work in works[:: 1 + number % 5])
        if not number % 50:
            model._executor._pace.took(0.01)
            model._executor._pace.took(0.01)  # not quick for a while
    expected = sum(number % 9 for number in range(300)) - cancelled
    await eventually(lambda: len(done) == expected)
    assert "InternalError" not in done
    await model.close()
    assert len(done) == expected
    assert {threading.get_ident()} < echo.threads
