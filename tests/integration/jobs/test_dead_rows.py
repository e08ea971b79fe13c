"""Rows that make the model raise, or kill its process: dead letters with their reason, all others have results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from modelyard.aio import Client
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from tests import models
from tests.integration.jobs.batch import column, ended, saved
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite


async def test_a_row_that_makes_the_model_raise(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("raises", models.lookup(rows=4))
    picks = np.arange(500, dtype=np.int64) % 4
    picks[[7, 300]] = 9
    options = JobOptions(max_attempts=2)
    done = await ended(client, await client.jobs.submit("raises", saved(tmp_path / "i.npy", picks), options))
    assert done.state is JobState.PARTIALLY_SUCCEEDED
    letters = await client.jobs.dead_letters(done)
    assert sorted(letter.row for letter in letters) == [7, 300]
    assert all("indices" in letter.reason.lower() or "index" in letter.reason.lower() for letter in letters)
    await client.jobs.results(done, tmp_path / "y.parquet")
    assert (column(tmp_path / "y.parquet", "y") == np.delete(picks, [7, 300])).all()


def killed(suite: RunningSuite, model: str) -> int:
    """How many runners of a model have died of what they executed."""
    lines = [line for log in suite.directory.glob("logs/worker-*.log") for line in log.read_text().splitlines()]
    return sum(all(words in line for words in ("runner ended", model, "SIGFPE")) for line in lines)


async def test_a_row_that_kills_the_process(
    running_suite: RunningSuite, client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("kills", models.crash_on_input("INT64"))
    values = np.arange(1, 10_001)
    values[7001] = -1
    options = JobOptions(max_attempts=2)
    done = await ended(client, await client.jobs.submit("kills", saved(tmp_path / "x.npy", values), options))
    assert (done.state, done.progress.done_rows) == (JobState.PARTIALLY_SUCCEEDED, 9_999)
    (letter,) = await client.jobs.dead_letters(done)
    assert (letter.row, letter.deaths) == (7001, 2)
    assert letter.deaths < killed(running_suite, "kills@1") <= 10
    await client.jobs.results(done, tmp_path / "y.parquet")
    assert column(tmp_path / "y.parquet", "y").tolist() == [-(2**63 // value) for value in values.tolist() if value > 0]


async def test_a_row_that_cannot_be_read_is_named(client: Client, bench: Workbench, tmp_path: Path) -> None:
    await bench.push("unread", models.identity("FP32", (-1,)))
    path = tmp_path / "x.jsonl"
    path.write_text("".join(f'{{"x": {"[]" if n == 5 else n}.0}}\n'.replace("[].0", "[1]") for n in range(50)))
    done = await ended(client, await client.jobs.submit("unread", path, JobOptions(key_column="")))
    assert done.state in {JobState.PARTIALLY_SUCCEEDED, JobState.FAILED}
    if done.state is JobState.FAILED:
        assert "5" in done.reason or "6" in done.reason
    else:
        (letter,) = await client.jobs.dead_letters(done)
        assert letter.row == 5


async def test_dead_rows_are_executed_again_when_they_are_asked_for(
    client: Client, bench: Workbench, tmp_path: Path
) -> None:
    await bench.push("again", models.lookup(rows=4))
    picks = np.array([0, 1, 9, 3], np.int64)
    options = JobOptions(max_attempts=1)
    job = await client.jobs.submit("again", saved(tmp_path / "i.npy", picks), options)
    assert (await ended(client, job)).state is JobState.PARTIALLY_SUCCEEDED
    assert await client.jobs.retry_dead_letters(job) == 1
    done = await ended(client, job)
    assert (done.state, done.progress.dead_rows) == (JobState.PARTIALLY_SUCCEEDED, 1)
    await client.jobs.results(done, tmp_path / "y.parquet")
    assert pq.read_table(tmp_path / "y.parquet").num_rows == 3
