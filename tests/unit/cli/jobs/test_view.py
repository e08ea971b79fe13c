from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from modelyard.cli.jobs.view import MOST_TASKS, JobView
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress, TaskNews
from modelyard.jobs.spec import BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState

JOB = Job("job-1", "acme", JobSpec(BatchInference("digits", Dataset(url="s3://rows"), "1")), create_time_s=1000.0)


class Clock:
    """Counts from somewhere else than the server does."""

    def __init__(self) -> None:
        self.now_s = 7.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> JobView:
    return JobView(JOB, clock)


def drawn(view: JobView) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100, markup=False, highlight=False, emoji=False).print(view.draw())
    return [
        " ".join(line.replace("━", "").replace("╸", "").replace("╺", "").split())
        for line in out.getvalue().splitlines()
    ]


def running(view: JobView) -> list[str]:
    return [line for line in drawn(view) if line.startswith("rows ") and line.endswith(" s")]


def of_job(kind: EventKind, at_s: float, state: JobState = JobState.RUNNING, **progress: Any) -> JobEvent:
    return JobEvent(kind, 1, at_s, job=replace(JOB, state=state, progress=Progress(**progress)))


def of_task(kind: EventKind, at_s: float, name: str, worker: str = "", reason: str = "") -> JobEvent:
    begin, end = map(int, name.removeprefix("r").split("-"))
    return JobEvent(kind, 1, at_s, task=TaskNews(name, begin, end, worker, reason))


def test_before_anything_is_known(view: JobView) -> None:
    assert drawn(view) == ["job-1 digits@1 QUEUED", "rows not counted yet"]


def test_while_nobody_executes_it_who_knows_why_is_named(view: JobView) -> None:
    view.take(of_job(EventKind.SNAPSHOT, 1000.0, rows=9))
    assert drawn(view)[-1] == "no worker executes it yet; `modelyard why digits@1` tells more"
    view.take(of_task(EventKind.TASK_STARTED, 1001.0, "r0-9", "w1"))
    assert drawn(view)[2:] == ["rows 0 to 8 w1 0 s"]


def test_a_task_is_shown_from_its_beginning_to_its_end(view: JobView, clock: Clock) -> None:
    view.take(
        of_job(EventKind.SNAPSHOT, 1000.0, rows=100, done_rows=50, running_tasks=2, rows_per_s=10.0, workers=("w1",))
    )
    view.take(of_task(EventKind.TASK_STARTED, 1001.0, "r50-75", "w1"))
    clock.now_s += 2.5
    assert drawn(view) == [
        "job-1 digits@1 RUNNING",
        "50 of 100 rows (50.0%)",
        "10 rows/s, 1 worker",
        "rows 50 to 74 w1 2.5 s",
        "and 1 task more",
    ]
    view.take(of_task(EventKind.TASK_DONE, 1003.0, "r50-75", "w1"))
    assert "rows 50 to 74 w1" not in "\n".join(drawn(view))


def test_a_task_that_is_executed_twice_is_shown_twice_until_one_has_ended(view: JobView) -> None:
    for worker in ("w1", "w2", "w3"):
        view.take(of_task(EventKind.TASK_STARTED, 1001.0, "r0-9", worker))
    view.take(of_task(EventKind.TASK_RECOVERED, 1002.0, "r0-9", "w2"))
    assert running(view) == ["rows 0 to 8 w1 1 s", "rows 0 to 8 w3 1 s"]
    view.take(of_task(EventKind.TASK_SPLIT, 1003.0, "r0-9", "w1"))
    assert running(view) == []


def test_what_was_known_is_void_after_a_snapshot(view: JobView) -> None:
    view.take(of_task(EventKind.TASK_STARTED, 1001.0, "r0-9", "w1"))
    view.take(of_job(EventKind.SNAPSHOT, 1002.0, rows=9, running_tasks=1))
    assert drawn(view)[-1] == "and 1 task more"
    view.take(of_job(EventKind.STATE, 1003.0, JobState.SUCCEEDED, rows=9, done_rows=9, running_tasks=1))
    assert drawn(view)[-1] == "9 of 9 rows (100.0%)"


def test_the_last_failures_are_told_as_they_can_be_printed(view: JobView) -> None:
    for row in range(6):
        view.take(of_task(EventKind.TASK_DEAD, 1001.0, f"r{row}-{row + 1}", reason="odd\x1b[1m"))
    assert drawn(view)[-4:] == [rf"row {row} was given up: odd\x1b[1m" for row in (2, 3, 4, 5)]


def test_of_many_tasks_some_are_shown(view: JobView) -> None:
    view.take(of_job(EventKind.SNAPSHOT, 1000.0, rows=1000, running_tasks=MOST_TASKS + 3))
    for row in range(MOST_TASKS + 3):
        view.take(of_task(EventKind.TASK_STARTED, 1001.0, f"r{row}-{row + 1}", "w1"))
    lines = drawn(view)
    assert len([line for line in lines if " w1 " in line]) == MOST_TASKS
    assert lines[-1] == "and 3 tasks more"


def test_time_left_is_by_the_clock_of_the_server(view: JobView, clock: Clock) -> None:
    view.take(of_job(EventKind.PROGRESS, 2000.0, rows=9, rows_per_s=0.25, estimated_end_s=2100.0))
    assert drawn(view)[2] == "0.25 rows/s, 1 min 40 s left"
    clock.now_s += 60
    assert drawn(view)[2] == "0.25 rows/s, 40 s left"
    clock.now_s += 60
    assert drawn(view)[2] == "0.25 rows/s"
