from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import (
    CancelledError,
    DeadlineError,
    InvalidInputError,
    ModelExecutionError,
    NotFoundError,
    PreconditionError,
)
from modelyard.jobs.job import DeadLetter, Job
from modelyard.results import Array
from modelyard.sdk.jobs.options import JobOptions
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fake_jobs import npy
from tests.unit.fakes import FakeSuite
from tests.waiting import eventually

X = {"x": np.zeros((10, 4), np.float32)}
Y = np.arange(40, dtype=np.float32).reshape(10, 4)
Z = np.arange(10)


@pytest.fixture(autouse=True)
def results(digits: FakeSuite) -> None:
    digits.jobs.files = {"y": npy(Y), "z": npy(Z)}


async def test_a_call_is_answered_later(digits: FakeSuite, client: Client) -> None:
    call = await client.submit("digits", X, JobOptions(priority=1))
    assert not await call.done()
    digits.jobs.end(rows=10, done_rows=10)
    outputs = await call.result(timeout_s=20)
    np.testing.assert_array_equal(outputs["y"], Y)
    np.testing.assert_array_equal(outputs["z"], Z)
    assert outputs["y"].dtype == np.float32
    outputs["y"][0] = 7
    later = client.handle(call.id)
    assert await later.done()
    np.testing.assert_array_equal((await later.result())["y"], Y)
    sent = digits.jobs.requests[0].spec
    assert (sent.priority, sent.batch_inference.output.format) == (1, pb.NPY)


async def test_a_call_without_an_answer(digits: FakeSuite, client: Client) -> None:
    call = await client.submit("digits", X)
    digits.jobs.silent = True
    with pytest.raises(DeadlineError, match="has not ended within"):
        await call.result(timeout_s=0.1)
    await call.cancel()
    digits.jobs.end("CANCELLED", rows=10)
    with pytest.raises(CancelledError, match=r"^job-1 was cancelled$"):
        await call.result()
    with pytest.raises(NotFoundError):
        await client.handle("absent").result()


async def test_a_call_that_the_model_fails_says_why(digits: FakeSuite, client: Client) -> None:
    call = await client.submit("digits", X)
    digits.jobs.end("FAILED", "10 of 10 rows were given up", rows=10, dead_rows=10)
    digits.jobs.letters += [pb.DeadLetter(task=f"r{n}-{n + 1}", row=n, reason=f"odd {n}") for n in range(10)]
    with pytest.raises(ModelExecutionError) as raised:
        await call.result()
    named = "row 0: odd 0; row 1: odd 1; row 2: odd 2; row 3: odd 3; row 4: odd 4, ..."
    assert raised.value.message == f"job job-1: 10 of 10 rows were given up: {named}"


async def test_a_call_whose_inputs_do_not_fit(digits: FakeSuite, client: Client) -> None:
    call = await client.submit("digits", X)
    digits.jobs.end("FAILED", "input 'x': expected [-1, 4]")
    with pytest.raises(PreconditionError, match=r"^job-1 failed: input 'x': expected \[-1, 4\]"):
        await call.result()


async def mapped(client: Client, dead: list[DeadLetter] | None = None) -> list[dict[str, Array]]:
    note = dead.extend if dead is not None else None
    async with contextlib.aclosing(client.map("digits", X, batch_rows=4, dead=note)) as batches:
        return [batch async for batch in batches]


async def test_map_yields_batches_in_order(digits: FakeSuite, client: Client) -> None:
    digits.jobs.tell("SNAPSHOT", "RUNNING", rows=10)
    digits.jobs.tell_task("TASK_DONE", "r0-5")
    digits.jobs.tell("PROGRESS", done_rows=5)
    digits.jobs.end(done_rows=10)
    seen: list[Job] = []
    batches = [batch async for batch in client.map("digits", X, batch_rows=4, progress=seen.append)]
    assert [len(batch["y"]) for batch in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([batch["y"] for batch in batches]), Y)
    np.testing.assert_array_equal(np.concatenate([batch["z"] for batch in batches]), Z)
    assert [job.progress.done_rows for job in seen] == [0, 5, 10]


async def test_map_of_no_rows_yields_nothing(digits: FakeSuite, client: Client) -> None:
    digits.jobs.files = {"y": npy(Y[:0]), "z": npy(Z[:0])}
    digits.jobs.end(rows=0)
    assert await mapped(client) == []


async def test_rows_that_were_given_up_are_an_error_unless_somebody_is_told(digits: FakeSuite, client: Client) -> None:
    digits.jobs.files = {"y": npy(Y[:8]), "z": npy(Z[:8])}
    digits.jobs.letters += [pb.DeadLetter(task=f"r{n}-{n + 1}", row=n, reason="odd") for n in (3, 7)]
    digits.jobs.letters.append(pb.DeadLetter(task="r8-9", row=-1, reason="lost"))
    digits.jobs.end("PARTIALLY_SUCCEEDED", rows=11, done_rows=8, dead_rows=3)
    message = "3 of 11 rows were given up: row 3: odd; row 7: odd; task r8-9: lost$"
    with pytest.raises(ModelExecutionError, match=message):
        await mapped(client)
    dead: list[DeadLetter] = []
    assert [len(batch["y"]) for batch in await mapped(client, dead)] == [4, 4]
    assert [letter.row for letter in dead] == [3, 7, -1]


async def test_a_job_that_fails_is_an_error_whoever_is_told(digits: FakeSuite, client: Client) -> None:
    dead: list[DeadLetter] = []
    digits.jobs.letters.append(pb.DeadLetter(task="r3-4", row=3, reason="odd"))
    digits.jobs.end("FAILED", "its deadline of 5 s has passed", rows=10, done_rows=4, dead_rows=1)
    with pytest.raises(PreconditionError, match="its deadline of 5 s has passed"):
        await mapped(client, dead)
    digits.jobs.told.clear()
    digits.jobs.end("FAILED", "1 of 1 rows were given up", rows=1, done_rows=0, dead_rows=1)
    with pytest.raises(ModelExecutionError, match="row 3: odd"):
        await mapped(client, dead)
    assert not dead


async def test_who_stops_cancels_the_job(digits: FakeSuite, client: Client) -> None:
    digits.jobs.tell("SNAPSHOT", "RUNNING", rows=10)
    digits.jobs.silent = True
    mapping = asyncio.create_task(mapped(client))
    await eventually(lambda: digits.jobs.calls["WatchJob"])
    mapping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await mapping
    assert digits.jobs.jobs["job-1"].state == pb.Job.CANCELLING

    def leave(job: Job) -> None:
        raise RuntimeError(f"{job.id} is of no interest")

    digits.jobs.failures["CancelJob"] = [PreconditionError("it has ended")]
    with pytest.raises(RuntimeError, match="job-2 is of no interest"):
        await anext(client.map("digits", X, progress=leave))
    assert digits.jobs.calls["CancelJob"] == 2


async def test_what_cannot_be_yielded_is_refused_at_once(digits: FakeSuite, client: Client) -> None:
    for options, message in (
        (JobOptions(key_column="id"), "expected no key"),
        (JobOptions(shard_by="id"), "expected no key"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            await client.submit("digits", X, options)
    with pytest.raises(InvalidInputError, match="batch_rows: expected at least 1, got 0"):
        await anext(client.map("digits", X, batch_rows=0))
    digits.registry.versions["digits", "1"].signature.outputs.add(name="label", datatype="BYTES", shape=[-1])
    with pytest.raises(InvalidInputError, match="digits@1: output 'label' is of BYTES"):
        await client.submit("digits", X)
    assert not digits.jobs.calls
