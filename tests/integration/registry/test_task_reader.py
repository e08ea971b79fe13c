"""The reader's part of a task: rows from a registry, through a runner, and back as pieces."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard import codec, process
from modelyard.datasets.assembly import MemorySource
from modelyard.datasets.opening import open_dataset
from modelyard.datasets.remote import open_url, stamp_of
from modelyard.datasets.sharding import shard_of
from modelyard.datasets.text import TextDataset
from modelyard.jobs.found import Stored
from modelyard.jobs.spec import Artifact, Dataset, Sharding
from modelyard.rpc.storing import Storing
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.jobs.assignment import Drop, Lost, Order, Registries, Report
from modelyard_worker.jobs.reader.sizes import FIRST_ROWS
from tests.integration.registry.remote import RegistryServer, Remote
from tests.integration.registry.tasks import Agent, Doubling, array_of, as_npy, begin, parquet, rows_of
from tests.waiting import eventually

ROWS = 3000


@pytest.fixture
async def runner() -> AsyncIterator[Doubling]:
    async with Doubling().serve() as served:
        assert isinstance(served, Doubling)
        yield served


@pytest.fixture
async def agent(server: RegistryServer) -> AsyncIterator[Agent]:
    async with Agent(server.endpoint) as found:
        yield found


async def test_every_row_of_a_task_has_its_result_in_the_store(
    server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent
) -> None:
    report = await agent.report(await begin(server, runner, "r100-2900", ROWS))
    assert report.executed is not None
    assert report.executed.token == "t-r100-2900"
    assert report.executed.seconds > 0
    (piece,) = report.executed.pieces
    assert (piece.output, piece.rows) == ("", 2800)
    found = await rows_of(registry, piece)
    assert found["k"].tolist() == [b"k%d" % row for row in range(100, 2900)]
    assert found["y"].tolist() == [[2.0 * row, 2.0] for row in range(100, 2900)]
    assert runner.sizes[0] == 8
    assert max(runner.sizes) > 64
    again = await agent.report(await begin(server, runner, "r2900-3000", ROWS))
    assert again.executed is not None
    assert runner.sizes[-1] > 8  # what was learned of the model stays


async def test_outputs_as_npy_are_a_piece_each(
    server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent
) -> None:
    report = await agent.report(as_npy(await begin(server, runner, "r0-1000", ROWS)))
    assert report.executed is not None
    (piece,) = report.executed.pieces
    assert (piece.output, piece.shape) == ("y", (2,))
    assert (await array_of(registry, piece)).tolist() == [[2.0 * row, 2.0] for row in range(1000)]


async def test_shards_of_a_key(server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent) -> None:
    own = [row for row in range(ROWS) if shard_of(b"k%d" % row, 8) in (2, 3)]
    begun = await begin(server, runner, f"k2-4-8.r10-{len(own)}", ROWS)
    begun = replace(begun, spec=replace(begun.spec, sharding=Sharding("k", 8)))
    report = await agent.report(begun)
    assert report.executed is not None
    found = await rows_of(registry, report.executed.pieces[0])
    assert found["k"].tolist() == [b"k%d" % row for row in own[10:]]
    assert found["y"][:, 0].tolist() == [2.0 * row for row in own[10:]]
    runner.bad = {float(own[40])}
    report = await agent.report(begun)
    assert report.failed is not None
    assert (report.failed.at_fault, report.failed.reason) == ((40,), f"row {own[40]}: a bad row")


async def test_rows_that_make_the_model_raise_are_found(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    runner.bad = {7.0, 1234.0, 1235.0, 2999.0}
    report = await agent.report(await begin(server, runner, "r5-3000", ROWS))
    assert report.failed is not None
    assert report.failed.at_fault == (7, 1234, 1235, 2999)
    assert report.failed.reason == "row 7: a bad row"
    assert not report.failed.permanent
    assert report.failed.seconds > 0
    assert len(runner.sizes) < 300  # and not by executing each row by itself


async def test_no_more_than_250_of_them_are_looked_for(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    runner.bad = {float(row) for row in range(ROWS)}
    report = await agent.report(await begin(server, runner, f"r0-{ROWS}", ROWS))
    assert report.failed is not None
    assert report.failed.at_fault == tuple(range(250))
    assert len(runner.sizes) < 800


async def test_a_batch_that_fails_as_a_whole_is_executed_in_parts(
    server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent
) -> None:
    runner.failures = [pb.Failure(error="ModelExecutionError", message="too much")] * 2
    report = await agent.report(await begin(server, runner, "r0-500", ROWS))
    assert report.executed is not None
    found = await rows_of(registry, report.executed.pieces[0])
    assert found["y"][:, 0].tolist() == [2.0 * row for row in range(500)]


async def test_rows_that_cannot_be_read_need_not_be_tried_again(
    server: RegistryServer, runner: Doubling, agent: Agent
) -> None:
    report = await agent.report(await begin(server, runner, "r100-900", ROWS, missing=(7, 300, 700)))
    assert report.failed is not None
    assert report.failed.at_fault == (300, 700)
    assert report.failed.reason.startswith("row 300: column 'x': ")
    assert report.failed.permanent


async def test_a_model_that_does_not_answer_row_by_row(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    runner.one_row = True
    report = await agent.report(await begin(server, runner, "r0-4", ROWS))
    assert report.executed is not None  # each row by itself has its answer
    assert runner.sizes == [4, 2, 1, 1, 2, 1, 1]


async def test_a_dataset_that_is_not_what_was_planned(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    begun = await begin(server, runner, "r0-4", ROWS)
    report = await agent.report(replace(begun, found=replace(begun.found, rows=ROWS + 1)))
    assert report.failed is not None
    assert report.failed.permanent
    assert "expected 3001 rows, as planned; got 3000" in report.failed.reason


async def test_an_instance_that_has_no_room_or_is_gone_leaves_it_undone(
    server: RegistryServer, runner: Doubling, agent: Agent
) -> None:
    begun = await begin(server, runner, "r0-1000", ROWS)
    runner.failure = pb.Failure(error="ExhaustedError", message="the queue is full")
    report = await agent.report(begun)
    assert report.undone is not None
    assert report.undone.reason == "double@1: the queue is full"
    runner.failure, runner.refuse = None, True
    runner.cut()
    report = await agent.report(begun)
    assert report.undone is not None
    assert "not here" in report.undone.reason


async def test_a_registry_that_is_away_for_too_long_leaves_it_undone(server: RegistryServer, runner: Doubling) -> None:
    begun = await begin(server, runner, "r0-1000", ROWS)
    async with Agent(patience_s=0.1) as agent:
        report = await agent.report(begun)
        assert report.undone is not None
        assert report.undone.reason == "no registry is live"


async def test_a_url_is_read_as_long_as_it_is_the_same_file(
    server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent, tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(parquet(ROWS))
    url = f"file://{file}"
    begun = await begin(server, runner, "r0-1000", ROWS)
    stamp = stamp_of(open_url(url, [url]))
    begun = replace(
        begun,
        job="job-url",
        spec=replace(begun.spec, dataset=Dataset(url=url)),
        found=replace(begun.found, stamp=stamp),
    )
    report = await agent.report(begun)
    assert report.executed is not None
    assert (await rows_of(registry, report.executed.pieces[0]))["y"][7].tolist() == [14.0, 2.0]
    report = await agent.report(replace(begun, job="job-other", found=replace(begun.found, stamp="another")))
    assert report.failed is not None
    assert "has changed since its rows were counted" in report.failed.reason


async def indexed(server: RegistryServer, text: bytes) -> Stored:
    """Where the index of a CSV file is stored."""
    dataset = open_dataset(MemorySource(text, "rows.csv"))
    assert isinstance(dataset, TextDataset)
    storing, data = Storing(lambda: [server.endpoint]), codec.encode(dataset.index)
    stored = await storing.store(data, len(data), tenant="acme", upload="text")
    await storing.close()
    return stored


async def test_text_is_read_by_the_index_that_was_made_once(
    server: RegistryServer, registry: Remote, runner: Doubling, agent: Agent
) -> None:
    text = b"a,b,k\n" + b"".join(b"%d,1,k%d\n" % (row, row) for row in range(ROWS))
    storing = Storing(lambda: [server.endpoint])
    digest = await storing.store_artifact("rows.csv", text, tenant="acme", upload="text")
    await storing.close()
    begun = await begin(server, runner, "r10-900", ROWS)
    spec = replace(begun.spec, dataset=Dataset(artifact=Artifact(digest)), columns=(("x", ("a", "b")),), cast=True)
    begun = replace(begun, job="job-text", spec=spec, found=replace(begun.found, index=await indexed(server, text)))
    report = await agent.report(begun)
    assert report.executed is not None
    found = await rows_of(registry, report.executed.pieces[0])
    assert found["y"].tolist() == [[2.0 * row, 2.0] for row in range(10, 900)]
    assert found["k"][-1] == b"k899"
    other = replace(begun, job="job-more", found=replace(begun.found, index=await indexed(server, text + b"1,1,k\n")))
    report = await agent.report(other)
    assert report.failed is not None
    assert "as when it was indexed" in report.failed.reason


async def test_a_runner_that_dies_with_rows_of_it(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    runner.go.clear()
    await agent.attempts.take(Order(begin=await begin(server, runner, "r0-1000", ROWS)))
    await runner.received(2)
    runner.cut()
    report = await asyncio.wait_for(agent.reports.get(), 30)
    assert report.lost is not None
    assert report.lost == Lost("t-r0-1000", report.lost.reason, 0, 2 * FIRST_ROWS)


@pytest.mark.parametrize("begins", [True, False])
async def test_with_caution_it_is_known_which_call_was_executed(
    begins: bool, server: RegistryServer, runner: Doubling, agent: Agent
) -> None:
    runner.go.clear()
    runner.begins = begins
    careful = await begin(server, runner, "r100-1000", ROWS, cautious_rows=3)
    await agent.attempts.take(Order(begin=careful))
    await runner.received(2)
    assert all(call.alone and call.background for call in runner.calls)
    runner.cut()
    report = await asyncio.wait_for(agent.reports.get(), 30)
    found = None if report.lost is None else (report.lost.begin, report.lost.end)
    assert found == ((100, 103) if begins else None)
    assert (report.undone is None) == begins


async def test_of_what_is_dropped_nothing_is_said(server: RegistryServer, runner: Doubling, agent: Agent) -> None:
    runner.go.clear()
    first, second = [await begin(server, runner, task, ROWS) for task in ("r0-1000", "r1000-1100")]
    await agent.attempts.take(Order(begin=first))
    await runner.received(2)
    await agent.attempts.take(Order(begin=second))
    await agent.attempts.take(Order(drop=Drop("t-unknown")))
    await agent.attempts.take(Order(drop=Drop(first.token)))
    await eventually(lambda: len(runner.cancelled) == 2)
    assert sorted(runner.cancelled) == [1, 2]
    runner.go.set()
    report = await asyncio.wait_for(agent.reports.get(), 30)
    assert report.executed is not None
    assert report.executed.token == second.token
    assert agent.reports.empty()


async def test_the_program_does_as_it_is_told_and_has_no_engine(
    server: RegistryServer, registry: Remote, runner: Doubling, tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "modelyard_worker.jobs.reader"]
    with (tmp_path / "log").open("wb") as log:
        child = await process.start(command, {}, log, orders=True)
    try:
        reports = child.reports()
        assert await anext(reports) == {"state": "ready"}
        await child.order(codec.encode(Order(registries=Registries((server.endpoint,)))))
        await child.order(codec.encode(Order(begin=await begin(server, runner, "r0-1000", ROWS))))
        lines = [line async for line in _until_report(reports)]
        report = codec.decode(Report, codec.encode(lines[-1]))
        assert report.executed is not None
        assert len((await rows_of(registry, report.executed.pieces[0]))["y"]) == 1000
        assert await anext(reports) == {"state": "beat"}
    finally:
        assert await child.stop(30) == 0
    imported = (tmp_path / "log").read_text()
    assert "modelyard_worker.jobs.reader.execution" in imported
    assert not {"torch", "onnxruntime"} & {line.rpartition("|")[2].strip() for line in imported.splitlines()}


async def _until_report(reports: AsyncIterator[dict[str, object]]) -> AsyncIterator[dict[str, object]]:
    async for line in reports:
        yield line
        if "state" not in line:
            return
