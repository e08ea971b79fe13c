"""The threads of an instance, when something goes wrong or takes long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.oip.tensors import Array
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.loaded import BatchRecord, Work
from tests.unit.worker.instances import Echo, loaded, request, told, values
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 10
DOOMED = """
import asyncio
from modelyard_worker.runner.callqueue import CallQueue
from tests.unit.worker.instances import Echo, loaded, request

def look(calls, copy):
    raise MemoryError("no more")

async def main():
    CallQueue.look = look
    await loaded(Echo()).infer(request(1), None)

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


def test_a_runner_whose_executor_fails_ends_with_its_reason_in_the_log() -> None:
    ended = subprocess.run([sys.executable, "-c", DOOMED], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert b"the runner ends" in ended.stderr
    assert b"MemoryError: no more" in ended.stderr
