from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from modelyard.catalogue import TensorSpec
from modelyard.datasets.columns import Column
from modelyard.datasets.pieces import NpyPiece, ParquetPiece, result_columns
from modelyard.errors import (
    AbortedError,
    DataLossError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.jobs.found import Found, Stored
from modelyard.jobs.job import ResultsHeader
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.spec import Output, ResultFormat
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome, StoredPiece, TaskSpec
from modelyard_scheduler.jobs.api import files, results
from modelyard_scheduler.jobs.api.results import Excerpt, Results
from modelyard_scheduler.jobs.outcomes import Outcomes
from modelyard_scheduler.jobs.records import Held
from tests.unit.jobs.submitted import SPEC
from tests.unit.scheduler.jobs.accepted import Desk
from tests.unit.scheduler.jobs.api.test_pieces import Store

COLUMNS = result_columns([TensorSpec("y", "FP32", (-1, 2))], Column("id", "INT64"))
PLAN = Plan(30, (Segment(0, 30, 10),))
FIRST, SECOND, THIRD = PLAN.tasks()
WHOLE = Excerpt()


def values(task: TaskSpec) -> dict[str, Any]:
    rows = np.arange(task.begin, task.end, dtype=np.int64)
    return {"id": rows, "y": np.stack([rows, -rows], axis=1).astype(np.float32)}


class Bench:
    """A job of 30 rows in three tasks, and what has come of them."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.store = Store()
        self.outcomes = Outcomes()
        self.results = Results(self.desk.records, self.outcomes_of, self.store.fetch)
        self.job = ""

    async def outcomes_of(self, held: Held) -> Outcomes:
        return self.outcomes

    async def begin(self, chosen: ResultFormat = ResultFormat.PARQUET, plan: Plan = PLAN) -> None:
        spec = replace(SPEC, batch_inference=replace(SPEC.inference, output=Output(chosen, "id")))
        self.job = (await self.desk.submit(spec=spec)).id
        held = await self.desk.records.read(self.job)
        running = replace(held.job, state=JobState.RUNNING, found=Found(plan.rows, COLUMNS))
        assert await self.desk.records.write(held, running, plan)

    def done(self, *tasks: TaskSpec) -> None:
        """They have results, in both formats."""
        for task in tasks:
            self.outcomes.done[task.id] = Outcome(1.0, "w", (self._parquet(task), *self._npy(task)))

    def _parquet(self, task: TaskSpec) -> StoredPiece:
        out = io.BytesIO()
        piece = ParquetPiece(COLUMNS, out)
        piece.write(values(task))
        piece.finish()
        return replace(self.store.piece(out.getvalue()), rows=task.rows)

    def _npy(self, task: TaskSpec) -> Sequence[StoredPiece]:
        found = []
        for column in COLUMNS:
            out = io.BytesIO()
            piece = NpyPiece(column, out)
            piece.write(values(task))
            shape = piece.finish().shape
            found.append(replace(self.store.piece(out.getvalue()), output=column.name, rows=task.rows, shape=shape))
        return found

    async def get(self, wanted: Excerpt = WHOLE) -> tuple[ResultsHeader, bytes]:
        header, *parts = [part async for part in self.results.read(self.job, wanted)]
        assert isinstance(header, ResultsHeader)
        data = [part for part in parts if isinstance(part, bytes)]
        assert len(data) == len(parts)
        return header, b"".join(data)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    yield found
    found.results.close()


def rows_of(data: bytes) -> list[int]:
    table = pq.read_table(io.BytesIO(data))
    ids: list[int] = table["id"].to_pylist()
    assert table["y"].to_pylist() == [[row, -row] for row in ids]
    return ids


async def test_all_rows_are_one_parquet_file_in_order(bench: Bench) -> None:
    await bench.begin()
    bench.done(THIRD, FIRST, SECOND)
    header, data = await bench.get()
    assert rows_of(data) == list(range(30))
    assert (header.format, header.size_bytes, header.rows, header.complete) == ("PARQUET", len(data), 30, True)


async def test_an_output_is_an_npy_file(bench: Bench) -> None:
    await bench.begin(ResultFormat.NPY)
    bench.done(THIRD, FIRST, SECOND)
    header, data = await bench.get(Excerpt("y"))
    assert np.array_equal(np.load(io.BytesIO(data)), values(TaskSpec(0, 30))["y"])
    assert (header.format, header.size_bytes, header.rows) == ("NPY", len(data), 30)
    _, ids = await bench.get(Excerpt("id"))
    assert np.load(io.BytesIO(ids)).tolist() == list(range(30))


async def test_npy_is_asked_for_by_output(bench: Bench) -> None:
    await bench.begin(ResultFormat.NPY)
    with pytest.raises(InvalidInputError, match="npy has a file for each output: expected one of 'id', 'y', got none"):
        await bench.get()


async def test_before_the_end_what_is_there(bench: Bench) -> None:
    await bench.begin()
    bench.done(THIRD, FIRST)
    header, data = await bench.get()
    assert rows_of(data) == [*range(10), *range(20, 30)]
    assert (header.rows, header.complete) == (20, False)


async def test_a_plan_that_has_no_task_for_some_rows_is_not_complete(bench: Bench) -> None:
    await bench.begin(plan=replace(PLAN, segments=(Segment(0, 20, 10),)))
    bench.done(FIRST, SECOND)
    assert not (await bench.get())[0].complete


async def test_rows_that_were_given_up_are_missing(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST, THIRD)
    bench.outcomes.dead = {SECOND.id}
    header, data = await bench.get()
    assert (len(rows_of(data)), header.rows, header.complete) == (20, 20, True)


@pytest.mark.parametrize("plan", [PLAN, Plan(0)])
async def test_no_rows_are_a_file_that_has_the_columns(bench: Bench, plan: Plan) -> None:
    await bench.begin(plan=plan)
    header, data = await bench.get()
    assert rows_of(data) == []
    assert pq.read_schema(io.BytesIO(data)).names == ["id", "y"]
    assert (header.rows, header.complete) == (0, plan.rows == 0)


async def test_no_rows_of_npy(bench: Bench) -> None:
    await bench.begin(ResultFormat.NPY, Plan(0))
    _, data = await bench.get(Excerpt("y"))
    empty = np.load(io.BytesIO(data))
    assert (empty.shape, empty.dtype) == ((0, 2), np.float32)


async def test_any_range_goes_on_where_another_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PART_BYTES", 100)
    await bench.begin()
    bench.done(FIRST, SECOND, THIRD)
    header, whole = await bench.get()
    for begin in range(0, len(whole) + 1, 97):
        assert (await bench.get(Excerpt(offset=begin, length=130)))[1] == whole[begin : begin + 130]
        rest = Excerpt(offset=begin, etag=header.etag)
        assert await bench.get(rest) == (header, whole[begin:])
    parts = [part async for part in bench.results.read(bench.job, Excerpt()) if isinstance(part, bytes)]
    assert {len(part) for part in parts[:-1]} == {100}


async def test_a_file_that_has_become_another_is_not_gone_on_with(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST)
    header, _ = await bench.get()
    bench.done(SECOND)
    with pytest.raises(AbortedError, match="its results are others by now: their etag is"):
        await bench.get(Excerpt(offset=10, etag=header.etag))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Excerpt(offset=10**9), "offset: expected 0 to [0-9]+, the size of the file; got 1000000000"),
        (Excerpt(offset=-1), "offset: expected 0 to"),
        (Excerpt(length=-1), "length: expected 0 or more, got -1"),
        (Excerpt("y"), "Parquet has all outputs in one file: expected none, got 'y'"),
    ],
)
async def test_what_is_in_no_file(bench: Bench, wanted: Excerpt, message: str) -> None:
    await bench.begin()
    bench.done(FIRST)
    with pytest.raises(InvalidInputError, match=message):
        await bench.get(wanted)


async def test_an_unknown_output_is_told_those_that_there_are(bench: Bench) -> None:
    await bench.begin(ResultFormat.NPY)
    with pytest.raises(NotFoundError, match="expected an output of 'id', 'y'; got 'z'"):
        await bench.get(Excerpt("z"))


async def test_of_a_job_that_was_not_planned_there_is_no_file(bench: Bench) -> None:
    bench.job = (await bench.desk.submit()).id
    with pytest.raises(PreconditionError, match="its rows were not counted yet, it is QUEUED"):
        await bench.get()
    bench.job = "job-9"
    with pytest.raises(NotFoundError, match="no job job-9"):
        await bench.get()


async def test_a_piece_that_is_gone_is_said_so(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST)
    bench.store.chunks.clear()
    with pytest.raises(DataLossError, match="gone"):
        await bench.get()


async def test_outcomes_that_are_stored_meanwhile_are_read_again(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST, SECOND, THIRD)
    asked: list[Held] = []

    async def outcomes_of(held: Held) -> Outcomes:
        asked.append(held)
        if held.job.outcomes:
            return bench.outcomes
        await bench.desk.becomes(bench.job, state=JobState.SUCCEEDED, outcomes=Stored(1, ("ab" * 32,)))
        return Outcomes()  # they have left the queue

    bench.results._outcomes_of = outcomes_of
    header, data = await bench.get()
    assert (len(rows_of(data)), header.complete, len(asked)) == (30, True, 2)


async def read_by_ranges(bench: Bench, size_bytes: int) -> bytes:
    return b"".join([(await bench.get(Excerpt(offset=at, length=200)))[1] for at in range(0, size_bytes, 200)])


async def test_who_reads_by_ranges_has_the_ends_of_pieces_read_once(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST, SECOND, THIRD)
    await bench.desk.becomes(bench.job, state=JobState.SUCCEEDED)
    asked: list[Held] = []
    outcomes_of = bench.results._outcomes_of

    async def counting(held: Held) -> Outcomes:
        asked.append(held)
        return await outcomes_of(held)

    bench.results._outcomes_of = counting
    header, whole = await bench.get()
    begun = len(bench.store.begun)
    assert await read_by_ranges(bench, header.size_bytes) == whole
    assert len(asked) == 1
    # Three pieces, each with a chunk: a range that goes on in the same one has it at hand.
    assert len(bench.store.begun) - begun <= 2 * 3


async def test_a_file_that_is_kept_is_not_told_for_another(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST)
    assert rows_of((await bench.get())[1]) == list(range(10))
    bench.done(SECOND)
    assert rows_of((await bench.get())[1]) == list(range(20))
    await bench.desk.becomes(bench.job, state=JobState.PARTIALLY_SUCCEEDED)
    assert rows_of((await bench.get())[1]) == list(range(20))
    await bench.desk.becomes(bench.job, state=JobState.RUNNING)
    bench.done(THIRD)
    await bench.desk.becomes(bench.job, state=JobState.SUCCEEDED)
    assert rows_of((await bench.get())[1]) == list(range(30))


async def test_results_that_were_made_again_are_another_file(bench: Bench) -> None:
    await bench.begin()
    bench.done(FIRST, SECOND, THIRD)
    header, _ = await bench.get()
    bench.outcomes.done[FIRST.id] = bench.outcomes.done[SECOND.id]
    with pytest.raises(AbortedError, match="its results are others by now"):
        await bench.get(Excerpt(etag=header.etag))


async def test_a_job_is_complete_though_shards_without_rows_were_never_planned(bench: Bench) -> None:
    await bench.begin(plan=Plan(10, (Segment(0, 1, 1),), shard_rows=(10, 0, 0)))
    [task] = (await bench.desk.records.read(bench.job)).plan.tasks()  # type: ignore[union-attr]
    bench.done(task)
    assert (await bench.get())[0].complete


async def test_so_many_read_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MOST_READERS", 2)
    await bench.begin()
    bench.done(FIRST)
    reading = [bench.results.read(bench.job, WHOLE) for _ in range(2)]
    for one in reading:
        assert isinstance(await anext(one), ResultsHeader)
    with pytest.raises(ExhaustedError, match="2 read results now"):
        await bench.get()
    for one in reading:
        await one.aclose()
    assert rows_of((await bench.get())[1]) == list(range(10))


async def test_few_files_stay_open_and_none_that_was_broken_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    await bench.begin(ResultFormat.NPY)
    bench.done(FIRST)
    broken = bench.results.read(bench.job, Excerpt("y"))
    await anext(broken)
    await broken.aclose()
    assert len(bench.results._files) == 0
    reading = [bench.results.read(bench.job, Excerpt("id")) for _ in range(3)]
    for one in reading:
        await anext(one)
    for one in reading:
        assert [part async for part in one]
    assert len(bench.results._files) == 2
