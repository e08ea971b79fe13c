from __future__ import annotations

import pytest

from modelyard.errors import PreconditionError
from modelyard.jobs.job import Progress
from modelyard.jobs.lifecycle import advance, cancel, conclude, moved, pause, resume, revive
from modelyard.jobs.states import Actor, JobState
from tests.unit.jobs.submitted import job

S = JobState


def test_times_are_noted() -> None:
    begun = moved(job(S.PLANNING), S.RUNNING, Actor.LEADER, 103.0)
    assert (begun.start_time_s, begun.end_time_s) == (103.0, 0.0)
    paused = pause(begun, 104.0)
    again = resume(paused, 105.0)
    assert (again.state, again.start_time_s) == (S.RUNNING, 103.0)
    ended = conclude(moved(again, S.FINISHING, Actor.LEADER, 106.0), 107.0)
    assert (ended.start_time_s, ended.end_time_s, ended.ended) == (103.0, 107.0, True)


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(PreconditionError) as refused:
        pause(job(S.SUCCEEDED), 105.0)
    assert refused.value.message == (
        "job job-1: expected it QUEUED or PLANNING or RUNNING to become PAUSED, it is SUCCEEDED"
    )
    with pytest.raises(PreconditionError, match="expected it PAUSED to be resumed, it is FAILED"):
        resume(job(S.FAILED), 105.0)
    with pytest.raises(PreconditionError, match="to become CANCELLING, it is FAILED"):
        cancel(job(S.FAILED), 105.0)


@pytest.mark.parametrize("state", [S.RUNNING, S.PAUSED])
def test_when_all_rows_have_ended_it_is_finished(state: JobState) -> None:
    assert advance(job(state, Progress(10, 8, 1)), 105.0).state is state
    assert advance(job(state, Progress(10, 9, 1)), 105.0).state is S.FINISHING
    assert advance(job(state, Progress(0)), 105.0).state is S.FINISHING
    assert advance(job(state, Progress()), 105.0).state is state


def test_too_many_dead_rows_fail_it() -> None:
    assert advance(job(S.RUNNING, Progress(100, 0, 2), max_dead_rows=2), 105.0).state is S.RUNNING
    failed = advance(job(S.RUNNING, Progress(100, 0, 3), max_dead_rows=2), 105.0)
    assert (failed.state, failed.reason) == (S.FAILED, "3 rows were given up, at most 2 are allowed")


@pytest.mark.parametrize("state", [S.QUEUED, S.PLANNING, S.RUNNING, S.PAUSED])
def test_a_deadline_fails_what_has_not_all_its_rows(state: JobState) -> None:
    assert advance(job(state, Progress(100, 7), deadline_s=5.0), 104.9).state is state
    failed = advance(job(state, Progress(100, 7), deadline_s=5.0), 105.0)
    assert (failed.state, failed.end_time_s) == (S.FAILED, 105.0)
    assert failed.reason == "its deadline of 5 s has passed: 7 of 100 rows were done"
    assert advance(job(state, deadline_s=5.0), 105.0).reason.endswith("0 of not yet counted rows were done")


@pytest.mark.parametrize("state", [S.FINISHING, S.CANCELLING, S.SUCCEEDED, S.CANCELLED])
def test_what_is_over_is_not_failed_by_a_deadline(state: JobState) -> None:
    late = job(state, Progress(5, 5), deadline_s=1.0)
    assert advance(late, 1000.0) is late


@pytest.mark.parametrize(
    ("progress", "state", "reason"),
    [
        (Progress(10, 10), S.SUCCEEDED, ""),
        (Progress(0), S.SUCCEEDED, ""),
        (Progress(10, 9, 1), S.PARTIALLY_SUCCEEDED, "1 of 10 rows were given up"),
        (Progress(10, 0, 10), S.FAILED, "10 of 10 rows were given up"),
    ],
)
def test_how_it_has_ended_follows_from_its_rows(progress: Progress, state: JobState, reason: str) -> None:
    ended = conclude(job(S.FINISHING, progress), 105.0)
    assert (ended.state, ended.reason) == (state, reason)


@pytest.mark.parametrize("state", [S.RUNNING, S.PAUSED, S.PARTIALLY_SUCCEEDED])
def test_rows_that_are_retried_have_to_end_again(state: JobState) -> None:
    again = revive(job(state, Progress(10, 7, 3)), 2, 105.0)
    assert again.progress == Progress(10, 7, 1)
    assert advance(again, 105.0) is again


def test_a_deadline_that_was_kept_does_not_count_again() -> None:
    kept = job(S.PARTIALLY_SUCCEEDED, Progress(10, 9, 1), deadline_s=5.0)
    assert advance(revive(kept, 1, 1000.0), 1001.0).state is S.RUNNING
    under_way = job(S.RUNNING, Progress(10, 8, 1), deadline_s=5.0)
    assert advance(revive(under_way, 1, 104.0), 105.0).state is S.FAILED
