"""Ranks that die by themselves, one after the other."""

from __future__ import annotations

import pytest

from modelyard.process import describe_exit
from modelyard.train.control.messages import Failed
from modelyard_worker.training.deaths import MOST, NOT_STARTED, Deaths, End

KILLED = End("killed by SIGKILL", stacks="the last words")
STEP = 7


def died(times: int, end: End = KILLED) -> Deaths:
    deaths = Deaths()
    for _ in range(times):
        deaths.take(end, STEP)
    return deaths


def test_the_job_has_failed_after_so_many_without_a_step() -> None:
    assert died(MOST - 1).verdict() is None
    said = f"ranks died {MOST} times in a row at step {STEP}, the last one: killed by SIGKILL (out of memory?)"
    assert died(MOST).verdict() == Failed(said, "the last words")


def test_a_step_that_is_committed_begins_the_count_anew_and_one_that_is_done_again_does_not() -> None:
    deaths = died(MOST - 1)
    deaths.take(KILLED, STEP + 1)
    assert deaths.verdict() is None
    for _ in range(MOST - 1):
        deaths.take(KILLED, STEP - 1)
    assert deaths.verdict() == Failed(
        f"ranks died {MOST} times in a row at step {STEP + 1}, the last one: killed by SIGKILL (out of memory?)",
        "the last words",
    )


@pytest.mark.parametrize("status", [NOT_STARTED, *map(describe_exit, (75, 143, -15))])
def test_what_is_nobodys_fault_is_not_counted(status: str) -> None:
    assert died(2 * MOST, End(status, "away")).verdict() is None


def test_who_was_silent_is_counted_only_if_its_own_threads_had_the_time_to_say_where_they_were() -> None:
    assert died(2 * MOST, End("it was silent for 5 s and was killed", is_silent=True)).verdict() is None
    verdict = died(MOST, End("it was silent for 5 s and was killed", stacks="in _hold", is_silent=True)).verdict()
    assert verdict
    assert (verdict.reason.rpartition(": ")[2], verdict.traceback) == (
        "it was silent for 5 s and was killed",
        "in _hold",
    )


def test_who_lived_for_long_got_on() -> None:
    deaths = died(MOST - 1)
    for _ in range(2 * MOST):
        deaths.take(KILLED, 0, long=True)
    assert deaths.verdict() is None


def test_a_reason_that_was_given_is_told() -> None:
    verdict = died(MOST, End("exit status 1", "MemoryError")).verdict()
    assert verdict
    assert verdict.reason.endswith("the last one: exit status 1: MemoryError")
