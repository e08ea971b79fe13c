from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard import process
from modelyard.datasets.columns import Column
from modelyard.errors import InvalidInputError, NotFoundError, UnavailableError
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard.jobs.spec import Artifact, Dataset, Sharding
from modelyard_scheduler.jobs.planner import __main__ as planner
from modelyard_scheduler.jobs.planner import process as planning_process
from modelyard_scheduler.jobs.planner.messages import Limits, Wanted
from modelyard_scheduler.jobs.planner.process import PARALLEL, Planner
from modelyard_scheduler.jobs.planner.pulse import Pulse
from tests.planning import ROWS_OF_FOUR, ROWS_OF_ONE, job_of
from tests.waiting import eventually
from tests.webserver import WebServer, serving

NewPlanner = Callable[..., Planner]


@pytest.fixture
async def new_planner(tmp_path: Path) -> AsyncIterator[NewPlanner]:
    made: list[Planner] = []

    def make(*allowed: str, registries: tuple[str, ...] = (), **limits: Any) -> Planner:
        made.append(Planner(lambda: registries, (f"file://{tmp_path}", *allowed), os.environ, Limits(**limits)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[process.Child]:
    """The processes that were started, in order."""
    found: list[process.Child] = []
    start = process.start

    async def noting(*arguments: Any, **options: Any) -> process.Child:
        found.append(await start(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(process, "start", noting)
    return found


@pytest.fixture
def stalled() -> Iterator[WebServer]:
    """A web server that answers nobody before the test has ended."""
    ends = threading.Event()

    def say_nothing(_: BaseHTTPRequestHandler) -> None:
        ends.wait(60)

    with serving() as web:
        web.instead = say_nothing
        yield web
        ends.set()


def array(path: Path, rows: int = 10) -> Job:
    np.save(path / "x.npy", np.zeros((rows, 4), np.float32))
    return job_of(Dataset(url=f"file://{path}/x.npy"))


async def test_a_dataset_is_opened_bound_and_counted(tmp_path: Path, new_planner: NewPlanner) -> None:
    found, plan = await new_planner().plan(array(tmp_path), ROWS_OF_FOUR)
    assert (found.rows, found.results, found.index) == (10, (Column("y", "FP32", (2,)),), None)
    assert found.stamp.startswith(f"{(tmp_path / 'x.npy').stat().st_size} ")
    assert plan == Plan(10)


async def test_the_next_job_finds_a_process_that_waits(
    tmp_path: Path, new_planner: NewPlanner, started: list[process.Child]
) -> None:
    planning, job = new_planner(), array(tmp_path)
    for _ in range(3):
        await planning.plan(job, ROWS_OF_FOUR)
    assert len(started) == 1
    started[0].signal(signal.SIGKILL)  # of one that died meanwhile nobody hears
    await started[0].wait()
    await planning.plan(job, ROWS_OF_FOUR)
    assert len(started) == 2
    await planning.aclose()
    assert started[1].returncode == -signal.SIGKILL


async def test_a_job_that_fails_is_no_reason_to_end_the_process(
    tmp_path: Path, new_planner: NewPlanner, started: list[process.Child]
) -> None:
    planning = new_planner()
    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"nope\.npy"):
            await planning.plan(job_of(Dataset(url=f"file://{tmp_path}/nope.npy")), ROWS_OF_ONE)
    assert (await planning.plan(array(tmp_path), ROWS_OF_FOUR))[1] == Plan(10)
    assert len(started) == 1


async def test_a_process_that_waits_has_no_threads_and_has_read_nothing(
    tmp_path: Path, new_planner: NewPlanner, started: list[process.Child]
) -> None:
    await new_planner().plan(array(tmp_path, 1 << 20), ROWS_OF_FOUR)
    waiting = psutil.Process(started[0].pid)
    assert waiting.num_threads() == 1
    assert waiting.children() == []
    assert [file.path for file in waiting.open_files() if file.path.startswith(str(tmp_path))] == []


async def test_a_process_that_waits_for_too_long_is_ended(
    tmp_path: Path, new_planner: NewPlanner, started: list[process.Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_process, "IDLE_S", 0.01)
    await new_planner().plan(array(tmp_path), ROWS_OF_FOUR)
    assert await started[0].wait() == -signal.SIGKILL


def planned_here(url: str, path: Path) -> Any:
    wanted = Wanted(
        "job-1", "acme", job_of(Dataset(url=url)).spec.inference, ROWS_OF_ONE, (), (f"file://{path}",), Limits()
    )
    return planner.plan(wanted, Pulse())


async def test_what_is_wrong_with_a_dataset_is_told(tmp_path: Path, new_planner: NewPlanner) -> None:
    with pytest.raises(NotFoundError, match=r"nope\.npy: no such file"):
        await new_planner().plan(job_of(Dataset(url=f"file://{tmp_path}/nope.npy")), ROWS_OF_ONE)
    array(tmp_path)
    told = planned_here(f"file://{tmp_path}/x.npy", tmp_path)["failed"]
    assert told["error"] == "InvalidInputError"
    assert told["message"].endswith("expected rows for input x: FP32 [-1, 1]; got 'x': FP32 [4]")
    assert "expected a URL below" in planned_here("file:///etc/passwd", tmp_path)["failed"]["message"]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    told = planned_here(f"file://{tmp_path}/bad.parquet", tmp_path)["failed"]
    assert "bad.parquet: expected a Parquet file" in told["message"]


async def test_a_registry_that_is_away_is_waited_for_and_told(tmp_path: Path, new_planner: NewPlanner) -> None:
    (tmp_path / "x.csv").write_text("x\n1\n")
    planning = new_planner(registries=("127.0.0.1:1",), patience_s=0.1)
    artifact = Dataset(artifact=Artifact("0" * 64, "x.npy"))
    text = Dataset(url=f"file://{tmp_path}/x.csv")
    told = await asyncio.gather(
        *(planning.plan(job_of(dataset), ROWS_OF_ONE) for dataset in (artifact, text)), return_exceptions=True
    )
    assert [type(error) for error in told] == [UnavailableError, UnavailableError]


async def test_a_dataset_that_takes_too_much_memory(tmp_path: Path, new_planner: NewPlanner) -> None:
    value = "x" * (4 << 20)
    pq.write_table(pa.table({"x": [0.5] * 40, "k": [value] * 40}), tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 1 << 20
    job = job_of(Dataset(url=f"file://{tmp_path}/x.parquet"), cast=True, sharding=Sharding("k"))
    with pytest.raises(InvalidInputError, match=r"x\.parquet: takes more memory to be read than there is: "):
        await new_planner(memory_bytes=200 << 20).plan(job, ROWS_OF_ONE)


async def test_datasets_whose_reader_ends_are_refused(
    new_planner: NewPlanner, started: list[process.Child], stalled: WebServer
) -> None:
    planning, job = new_planner(stalled.url), job_of(Dataset(url=f"{stalled.url}/x.npy"))
    plans = [asyncio.ensure_future(planning.plan(job, ROWS_OF_ONE)) for _ in range(PARALLEL + 1)]
    await eventually(lambda: len(stalled.requests) == PARALLEL)
    assert len(started) == PARALLEL, "the last one waits for its turn"
    plans.pop().cancel()
    forks = [psutil.Process(child.pid).children()[0] for child in started]
    for fork, number in zip(forks, (signal.SIGSEGV, signal.SIGKILL, signal.SIGXCPU), strict=False):
        fork.send_signal(number)
    await eventually(lambda: sum(plan.done() for plan in plans) == 3)
    (left,) = [plan for plan in plans if not plan.done()]
    told = [plan.exception() for plan in plans if plan.done()]
    assert sorted(str(error) for error in told) == [
        "the dataset could not be read: its reader ended with killed by SIGKILL, as when memory runs out",
        "the dataset could not be read: its reader ended with killed by SIGSEGV",
        "the dataset could not be read: that takes more than 7200 s of computing",
    ]
    assert {type(error) for error in told} == {InvalidInputError}
    left.cancel()
    await asyncio.wait([left])
    assert [child.returncode for child in started] == [-signal.SIGKILL] * PARALLEL
    await eventually(lambda: not any(map(_lives, forks)))  # who asked has gone


async def test_a_dataset_that_holds_its_reader_up_is_refused(
    new_planner: NewPlanner, started: list[process.Child], stalled: WebServer
) -> None:
    job = job_of(Dataset(url=f"{stalled.url}/x.npy"))
    with pytest.raises(InvalidInputError, match=r"the dataset could not be read: there was no progress for 1\.2 s"):
        await new_planner(stalled.url, silence_s=1.2).plan(job, ROWS_OF_ONE)
    assert started[0].returncode == -signal.SIGKILL


def _lives(fork: psutil.Process) -> bool:
    try:
        return fork.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def instead(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have these lines of Python run in the place of the reader."""
    begin = "import os; from modelyard.process import Parent; parent = Parent(dict(os.environ)); "
    monkeypatch.setattr(planning_process, "COMMAND", (sys.executable, "-c", begin + text))


async def test_a_reader_that_does_not_begin_is_not_the_datasets_fault(
    tmp_path: Path, new_planner: NewPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, "parent.report(state='ready'); raise SystemExit(3)")
    with pytest.raises(UnavailableError, match="did not begin: its reader ended with exit status 3"):
        await new_planner().plan(array(tmp_path), ROWS_OF_FOUR)
    monkeypatch.setattr(planning_process, "COMMAND", ("/nowhere",))
    with pytest.raises(UnavailableError, match="could not be started: No such file"):
        await new_planner().plan(array(tmp_path), ROWS_OF_FOUR)


async def test_what_nobody_foresaw_is_logged_without_users_data(
    tmp_path: Path, new_planner: NewPlanner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(planner, "open_dataset", fail)
    array(tmp_path)
    broken = planned_here(f"file://{tmp_path}/x.npy", tmp_path)
    assert broken["broken"]["error"] == "KeyError"
    assert broken["broken"]["places"][-1].startswith("test_planning_process.py:")
    assert "secret" not in str(broken)
    instead(monkeypatch, f"parent.report(state='begun'); parent.report(**{broken!r}); parent.report(state='ended')")
    with pytest.raises(InvalidInputError, match="the dataset could not be read: its reader failed with KeyError"):
        await new_planner().plan(array(tmp_path), ROWS_OF_FOUR)
    (record,) = [record for record in caplog.records if record.message == "planning failed"]
    assert record.__dict__["places"] == list(broken["broken"]["places"])
