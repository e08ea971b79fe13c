"""Batch inference from a dataset to its results, on a suite of two workers: every row once, equal to a local run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from modelyard.aio import Client
from modelyard.datasets.image_options import ImageOptions
from modelyard.errors import PreconditionError
from modelyard.jobs.job import EventKind, Job
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from tests import models
from tests.integration.jobs.batch import column, ended, local, rows, saved
from tests.integration.serving.conftest import Workbench
from tests.waiting import eventually

MLP = models.mlp()


async def test_a_file_of_rows_becomes_a_file_of_results_in_their_order(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("batch", MLP)
    data = rows(20_000)
    job = await client.jobs.submit("batch", saved(tmp_path / "x.npy", data))
    assert job.state is JobState.QUEUED
    done = await ended(client, job)
    assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
    assert (done.progress.rows, done.progress.done_rows, done.progress.dead_rows) == (20_000, 20_000, 0)
    assert done.usage.rows == 20_000
    header = await client.jobs.results(job, tmp_path / "y.parquet")
    assert (header.rows, header.complete) == (20_000, True)
    expected = local(MLP, {"x": data})["y"]
    np.testing.assert_allclose(column(tmp_path / "y.parquet", "y"), expected, rtol=0, atol=1e-5)


async def test_columns_of_a_table_become_inputs_and_a_key_stands_beside_the_outputs(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    model = models.sum_and_difference()
    await bench.push("table", model)
    numbers = np.arange(300 * 32, dtype=np.int32).reshape(300, 32)
    names = [f"c{i}" for i in range(32)]
    lines = [",".join(["id", *names]), *(f"row-{i}," + ",".join(map(str, row)) for i, row in enumerate(numbers))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    options = JobOptions(columns={"a": names[:16], "b": names[16:]}, cast=True, key_column="id")
    done = await ended(client, await client.jobs.submit("table", path, options))
    assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
    await client.jobs.results(done, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == [f"row-{i}" for i in range(300)]
    expected = local(model, {"a": numbers[:, :16], "b": numbers[:, 16:]})
    for name in ("sum", "difference"):
        assert (column(tmp_path / "out.parquet", name) == expected[name]).all()


async def test_map_yields_the_results_in_order(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("mapped", MLP)
    data = rows(5_000, seed=1)
    found = [part["y"] async for part in client.map("mapped", saved(tmp_path / "x.npy", data), batch_rows=2_000)]
    assert [len(part) for part in found] == [2_000, 2_000, 1_000]
    np.testing.assert_allclose(np.concatenate(found), local(MLP, {"x": data})["y"], rtol=0, atol=1e-5)


async def test_a_call_is_taken_and_its_answer_fetched_later_by_another(client: Client, bench: Workbench) -> None:
    await bench.push("later", MLP)
    data = rows(3, seed=2)
    taken = await client.submit("later", {"x": data})
    found = await client.handle(taken.id).result(timeout_s=60)
    np.testing.assert_allclose(found["y"], local(MLP, {"x": data})["y"], rtol=0, atol=1e-5)


async def test_rows_of_one_key_are_in_one_shard_and_all_have_results(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("keyed", MLP)
    data, keys = rows(2_000, seed=3), [f"user-{i % 97}" for i in range(2_000)]
    table = pa.table({"user": keys, "x": pa.FixedSizeListArray.from_arrays(pa.array(data.ravel()), 64)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=300)
    options = JobOptions(shard_by="user", shards=8, key_column="user")
    done = await ended(client, await client.jobs.submit("keyed", tmp_path / "in.parquet", options))
    assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
    await client.jobs.results(done, tmp_path / "out.parquet")
    expected = local(MLP, {"x": data})["y"]
    users = pq.read_table(tmp_path / "out.parquet")["user"].to_pylist()
    found = list(zip(users, column(tmp_path / "out.parquet", "y"), strict=True))
    by_key: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        by_key.setdefault(key, []).append(row)
    assert len(found) == len(keys)
    for key, output in found:
        row = by_key[key].pop(0)
        np.testing.assert_allclose(output, expected[row], rtol=0, atol=1e-5)


async def test_a_directory_of_images(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("pictures", models.identity("UINT8", (-1, 8, 6, 3)))
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(4).integers(0, 256, (20, 8, 6, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    options = JobOptions(format="npy", images=ImageOptions())
    done = await ended(client, await client.jobs.submit("pictures", folder, options))
    assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
    await client.jobs.results(done, tmp_path / "y.npy", "y")
    assert (np.load(tmp_path / "y.npy") == pixels).all()


async def test_a_job_of_no_rows_completes_with_a_file_of_no_rows(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("empty", MLP)
    done = await ended(client, await client.jobs.submit("empty", saved(tmp_path / "x.npy", rows(0))))
    assert (done.state, done.progress.rows) == (JobState.SUCCEEDED, 0)
    header = await client.jobs.results(done, tmp_path / "y.parquet")
    assert (header.rows, header.complete, len(column(tmp_path / "y.parquet", "y"))) == (0, True, 0)


async def test_the_same_request_is_the_same_job(client: Client, bench: Workbench) -> None:
    await bench.push("twice", MLP)
    options = JobOptions(request_id="only-once")
    first = await client.jobs.submit("twice", {"x": rows(2)}, options)
    again = await client.jobs.submit("twice", {"x": rows(2)}, options)
    assert first.id == again.id
    assert [job.id for job in await client.jobs.list(model="twice")] == [first.id]
    await ended(client, first)


async def test_a_watch_goes_on_from_an_event(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("watched", MLP)
    job = await client.jobs.submit("watched", saved(tmp_path / "x.npy", rows(2_000)))
    seen = [event async for event in client.jobs.watch(job)]
    assert seen[0].kind is EventKind.SNAPSHOT
    assert seen[-1].job is not None
    assert seen[-1].job.state is JobState.SUCCEEDED
    kinds = [event.kind for event in seen]
    assert EventKind.TASK_STARTED in kinds
    assert EventKind.TASK_DONE in kinds
    numbers = [event.event for event in seen]
    assert numbers == sorted(numbers)
    middle = next(event.event for event in seen if event.kind is EventKind.TASK_DONE)
    rest = [event async for event in client.jobs.watch(job, after_event=middle)]
    assert rest[0].kind is not EventKind.SNAPSHOT
    assert rest[0].event == middle + 1


async def test_a_model_that_nobody_has_deployed_is_loaded_for_the_job_and_not_served(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("internal", MLP)
    job = await client.jobs.submit("internal", saved(tmp_path / "x.npy", rows(200)))
    assert (await ended(client, job)).state is JobState.SUCCEEDED
    assert "internal" not in [d.model for d in await client.deployments()]
    assert any(job.id in line for line in await client.explain("internal"))


async def test_cancelled_jobs_keep_what_is_done(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("cancelled", models.mlp((64, 2048, 2048, 10)))
    job = await client.jobs.submit("cancelled", saved(tmp_path / "x.npy", rows(200_000)))
    await eventually(lambda: _some_done(client, job.id), 60)
    await client.jobs.cancel(job)
    done = await ended(client, job)
    assert done.state is JobState.CANCELLED
    header = await client.jobs.results(job, tmp_path / "y.parquet")
    assert not header.complete
    assert 0 < header.rows == done.progress.done_rows < 200_000
    assert (await client.jobs.cancel(job)).state is JobState.CANCELLED


async def _some_done(client: Client, job: str) -> bool:
    return (await client.jobs.get(job)).progress.done_rows > 0


async def test_a_paused_job_begins_nothing_until_it_is_resumed(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("paused", MLP)
    job = await paused(client, saved(tmp_path / "x.npy", rows(3_000)))
    assert job.state is JobState.PAUSED
    await eventually(lambda: _nothing_runs(client, job.id))
    assert (await client.jobs.get(job)).state is JobState.PAUSED
    await client.jobs.resume(job)
    assert (await ended(client, job)).state is JobState.SUCCEEDED


async def paused(client: Client, data: Path) -> Job:
    """A job of `paused` that had not ended before it could be paused."""
    for _ in range(5):
        job = await client.jobs.submit("paused", data)
        with contextlib.suppress(PreconditionError):
            return await client.jobs.pause(job)
    raise AssertionError("every job had ended before it was paused")


async def _nothing_runs(client: Client, job: str) -> bool:
    return (await client.jobs.get(job)).progress.running_tasks == 0


@pytest.mark.parametrize("format_", ["parquet", "npy"])
async def test_a_download_goes_on_where_it_broke_off(
    format_: str, client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("ranges", MLP)
    data = rows(40_000, seed=5)
    job = await client.jobs.submit("ranges", saved(tmp_path / "x.npy", data), JobOptions(format=format_))
    await ended(client, job)
    whole, output = tmp_path / "whole", "y" if format_ == "npy" else ""
    header = await client.jobs.results(job, whole, output)
    assert whole.stat().st_size == header.size_bytes
    assert header.rows == 40_000
