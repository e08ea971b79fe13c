"""What a job depends on is killed or stopped while it runs: every row has one result, as if nothing had happened."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from modelyard import Client as SyncClient
from modelyard.aio import Client
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.local import kernel
from tests import models
from tests.integration.jobs.batch import TIMEOUT_S, ended, local, rows, saved
from tests.integration.serving.traffic import arguments, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

NAME, WORKERS = "slow", ("worker-0", "worker-1")
MODEL = models.mlp((64, 1024, 1024, 10))
DATA = rows(100_000)
BATCH = 4096
Mended = Callable[[], bool]


def killed(suite: RunningSuite, name: str, number: signal.Signals = signal.SIGKILL) -> Mended:
    """Kill a process of the suite, which starts it again."""
    pid = suite.signal(name, number)
    return lambda: suite.ready(name, after=pid)


def stopped(suite: RunningSuite, worker: str) -> Mended:
    """Stop the runner on a worker for good: its agent has to notice."""
    runner = runners(suite, f"{NAME}@1")[worker]
    runner.signal(signal.SIGSTOP)
    return lambda: not runner.lives


@pytest.fixture(scope="module")
def expected() -> npt.NDArray[np.float32]:
    """What a local run makes of all rows."""
    parts = [local(MODEL, {"x": DATA[at : at + BATCH]})["y"] for at in range(0, len(DATA), BATCH)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite of two workers with the model."""
    running = RunningSuite(tmp_path_factory.mktemp("faults"), workers=2)
    with SyncClient(running.address, timeout_s=TIMEOUT_S) as client:
        client.push(NAME, models.save(MODEL, tmp_path_factory.mktemp("models") / "slow.onnx"))
        client.deploy(NAME, replicas=len(WORKERS), wait=False)
    yield running
    running.down()


@pytest.fixture
async def client(suite: RunningSuite) -> AsyncIterator[Client]:
    """A client of the suite, once both workers are there."""
    async with Client(suite.address, timeout_s=TIMEOUT_S) as opened:
        await eventually(lambda: all(suite.ready(worker) for worker in WORKERS), 60)
        yield opened


async def submitted(suite: RunningSuite, client: Client, directory: Path, times: int = 1) -> Job:
    """A job of all rows, so many times over, that is executed by the two workers and has some results, not all."""
    data = saved(directory / "rows.npy", np.tile(DATA, (times, 1)))
    await eventually(lambda: runners(suite, f"{NAME}@1").keys() == set(WORKERS), TIMEOUT_S)
    for _ in range(10):  # as the speed is known from job to job, one may end between two looks
        job = await client.jobs.submit(NAME, data)
        if await is_caught(client, job):
            return job
    raise AssertionError("every job had ended before it was seen to be executed")


async def is_caught(client: Client, job: Job) -> bool:
    """Whether it was seen with some results, before it had all."""
    async for event in client.jobs.watch(job):
        if event.job and 0 < event.job.progress.done_rows < event.job.progress.rows:
            return True
    return False


async def completed(client: Client, job: Job, directory: Path, expected: npt.NDArray[np.float32]) -> Job:
    """The job, which has ended with one result for every row."""
    done = await ended(client, job)
    assert (done.state, done.reason, done.progress.dead_rows) == (JobState.SUCCEEDED, "", 0)
    await client.jobs.results(job, directory / "out.parquet")
    found = pq.read_table(directory / "out.parquet")["y"].combine_chunks().flatten().to_numpy().reshape(-1, 10)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    return done


async def test_what_executes_goes_away(
    suite: RunningSuite, client: Client, tmp_path: Path, expected: npt.NDArray[np.float32]
) -> None:
    job = await submitted(suite, client, tmp_path)
    mended = [stopped(suite, "worker-0"), killed(suite, "worker-1")]
    for is_mended in mended:
        await eventually(is_mended, 60)
    await completed(client, job, tmp_path, expected)


async def test_what_coordinates_goes_away(
    suite: RunningSuite, client: Client, tmp_path: Path, expected: npt.NDArray[np.float32]
) -> None:
    job = await submitted(suite, client, tmp_path)
    mended = [killed(suite, name) for name in ("scheduler-0", "redis", "etcd")]
    for is_mended in mended:
        await eventually(is_mended, 60)
    await completed(client, job, tmp_path, expected)


async def test_a_worker_that_is_stopped_in_order_hands_back_what_it_has(
    suite: RunningSuite, client: Client, tmp_path: Path, expected: npt.NDArray[np.float32]
) -> None:
    job = await submitted(suite, client, tmp_path)
    await eventually(killed(suite, "worker-1", signal.SIGTERM), 60)
    done = await completed(client, job, tmp_path, expected)
    assert done.progress.retries == 0


async def test_its_users_undeploy_the_model(
    suite: RunningSuite, client: Client, tmp_path: Path, expected: npt.NDArray[np.float32]
) -> None:
    job = await submitted(suite, client, tmp_path)
    await client.undeploy(NAME)
    try:
        done = await completed(client, job, tmp_path, expected)
        assert done.progress.retries == 0
        assert await client.deployments() == []
    finally:
        await client.deploy(NAME, replicas=len(WORKERS), wait=False)


@pytest.mark.chaos
async def test_readers_are_killed(
    suite: RunningSuite, client: Client, tmp_path: Path, expected: npt.NDArray[np.float32]
) -> None:
    job = await submitted(suite, client, tmp_path, times=6)
    before = readers(suite)
    for reader in before:
        reader.signal(signal.SIGKILL)
    await eventually(lambda: {r.pid for r in readers(suite)} - {r.pid for r in before}, 60)
    await completed(client, job, tmp_path, np.tile(expected, (6, 1)))


def readers(suite: RunningSuite) -> list[kernel.Process]:
    """The reader processes that live."""
    return [process for process in suite.tree() if "modelyard_worker.jobs.reader" in arguments(process)]
