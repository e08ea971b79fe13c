from __future__ import annotations

import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from modelyard.cli.app import app
from modelyard.cli.jobs import watching
from modelyard.cli.jobs.view import JobView
from modelyard.errors import ExhaustedError, UnavailableError
from tests.unit.fakes import FakeSuite


@pytest.fixture
def told(digits: FakeSuite, rows: str) -> FakeSuite:
    """A job that has had its troubles."""
    jobs = digits.jobs
    jobs.tell("SNAPSHOT", "PLANNING", rows=-1)
    jobs.tell("STATE", "RUNNING", rows=2000)
    jobs.tell_task("TASK_STARTED", "r0-500", worker="w1")
    jobs.tell_task("TASK_RETRY", "r0-500", reason="odd\x1b[1m value")
    jobs.tell_task("TASK_RECOVERED", "r500-501", worker="w2")
    jobs.tell_task("TASK_SPLIT", "r0-500", worker="w1", reason="row 7")
    jobs.tell_task("TASK_DEAD", "k0-1-4.r7-8", reason="odd")
    jobs.tell_task("TASK_REVIVED", "r7-8")
    jobs.tell_task("TASK_DONE", "r8-500", worker="w1")
    event = jobs.tell("PROGRESS", done_rows=500, dead_rows=1, retries=2, rows_per_second=50.5, workers=["w1", "w2"])
    event.job.progress.estimated_end_time.seconds = event.time.seconds + 5400
    return digits


def watch(fakes: FakeSuite, *arguments: str) -> tuple[int, list[str], str]:
    result = CliRunner(env={"MODELYARD_ADDRESS": fakes.address}).invoke(app, ["jobs", *arguments])
    return result.exit_code, result.stdout.splitlines(), result.stderr


def test_into_a_pipe_what_matters_is_a_line(told: FakeSuite, rows: str) -> None:
    told.jobs.end(done_rows=1999, retries=2)
    status, lines, error = watch(told, "submit", "digits", rows, "--watch")
    assert (status, error) == (0, "")
    assert lines == [
        "submitted job-1: digits@1",
        "2023-11-14 22:13:20  PLANNING: rows not counted yet",
        "2023-11-14 22:13:21  RUNNING: 0 of 2,000 rows (0.0%)",
        r"2023-11-14 22:13:23  rows 0 to 499 failed, is tried again: odd\x1b[1m value",
        "2023-11-14 22:13:24  row 500 was lost with its worker, is tried again (w2)",
        "2023-11-14 22:13:25  rows 0 to 499 was split (w1): row 7",
        "2023-11-14 22:13:26  task k0-1-4.r7-8 was given up: odd",
        "2023-11-14 22:13:27  row 7 is tried once more",
        "2023-11-14 22:13:29  RUNNING: 500 of 2,000 rows (25.0%): 50 rows/s, 2 workers, 2 retries, 1 row given up, "
        "1 h 30 min left",
        "job-1 SUCCEEDED: 1,999 of 2,000 rows (99.9%), 2 retries",
    ]


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "PARTIALLY_SUCCEEDED"])
def test_a_job_that_has_not_succeeded_fails_the_command(told: FakeSuite, rows: str, state: str) -> None:
    told.jobs.end(state, "because")
    watch(told, "submit", "digits", rows)
    status, lines, error = watch(told, "watch", "job-1")
    assert (status, lines[-1].partition(":")[0]) == (1, f"job-1 {state}")
    assert "because" not in "".join(lines)
    words = {"FAILED": "failed", "CANCELLED": "was cancelled", "PARTIALLY_SUCCEEDED": "succeeded in part"}
    assert error == f"error: job-1 {words[state]}: because\n"


def test_ctrl_c_ends_the_watch_and_says_that_the_job_goes_on(
    told: FakeSuite, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(JobView, "take", interrupted)
    status, _, error = watch(told, "submit", "digits", rows, "--watch")
    at = f"job-1 --address {told.address}"
    assert status == 130
    said, *commands = error.splitlines()
    assert said == "job-1 goes on: show it again, or end it, by"
    assert commands == [f"  modelyard jobs watch {at}", f"  modelyard jobs cancel {at}"]


@pytest.fixture
def gone(told: FakeSuite, rows: str, monkeypatch: pytest.MonkeyPatch) -> FakeSuite:
    """A job that was submitted, of which for a while nothing is told."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    told.jobs.end(done_rows=2000)
    watch(told, "submit", "digits", rows)
    told.jobs.failures["WatchJob"] = [away() for _ in range(3)]
    return told


def away() -> UnavailableError:
    """Later than the client waits for an answer it is told again."""
    return UnavailableError("etcd: away", retry_after_s=2 * watching.ANSWER_S)


def test_where_nothing_answers_it_says_so_and_goes_on(gone: FakeSuite) -> None:
    status, lines, error = watch(gone, "watch", "job-1")
    assert (status, error, gone.jobs.failures["WatchJob"]) == (0, "", [])
    waited = [line.partition("  ")[2] for line in lines if "waiting" in line]
    assert waited == ["no news: etcd: away; waiting until the suite answers again"]
    assert lines[-1] == "job-1 SUCCEEDED: 2,000 of 2,000 rows (100.0%), 2 retries"


def test_each_event_is_told_once_where_nothing_answers_in_between(
    gone: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = gone.jobs.failures.pop("WatchJob")
    gone.jobs.failures["told"] = [UnavailableError("etcd: away")]
    called = gone.jobs.called

    def called_in_vain(method: str, context: Any) -> None:
        called(method, context)
        if method == "WatchJob" and not gone.jobs.failures["told"] and later:
            raise later.pop()

    monkeypatch.setattr(gone.jobs, "called", called_in_vain)
    status, lines, error = watch(gone, "watch", "job-1", "--json")
    assert (status, json.loads(error), later) == (0, {"waiting": "etcd: away"}, [])
    assert [json.loads(line)["event"] for line in lines] == list(range(1, 12))


def test_who_is_refused_at_once_does_not_ask_without_a_pause(gone: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    gone.jobs.failures["WatchJob"] = [ExhaustedError("full") for _ in range(3)]
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    status, lines, error = watch(gone, "watch", "job-1")
    assert (status, error, paused) == (0, "", [watching.PAUSE_S] * 3)
    assert lines[-1].startswith("job-1 SUCCEEDED")


def test_for_programs_what_is_waited_for_is_on_standard_error(gone: FakeSuite) -> None:
    status, lines, error = watch(gone, "watch", "job-1", "--json")
    assert (status, json.loads(error)) == (0, {"waiting": "etcd: away"})
    assert [json.loads(line)["event"] for line in lines] == list(range(1, 12))


def test_ctrl_c_while_nothing_answers(gone: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    status, _, error = watch(gone, "watch", "job-1")
    assert (status, error.partition(":")[0]) == (130, "job-1 goes on when the suite answers again")


def test_each_event_is_a_line_of_json(told: FakeSuite, rows: str) -> None:
    told.jobs.end(done_rows=2000)
    watch(told, "submit", "digits", rows)
    status, lines, error = watch(told, "watch", "job-1", "--from", "2", "--json")
    assert (status, error) == (0, "")
    events: list[Any] = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == list(range(3, 12))
    assert [event["kind"] for event in events][:2] == ["TASK_STARTED", "TASK_RETRY"]
    assert events[0]["task"] == {"id": "r0-500", "begin": 0, "end": 500, "worker": "w1", "reason": ""}
    assert (events[-1]["job"]["state"], events[-1]["task"]) == ("SUCCEEDED", None)
    assert watch(told, "watch", "absent")[0] == 1
