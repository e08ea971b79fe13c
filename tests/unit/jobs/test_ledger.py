from __future__ import annotations

import pytest

from modelyard.jobs.job import Progress, Usage
from modelyard.jobs.ledger import Account, Tally, charged, progress, repeated
from modelyard.jobs.planning import Plan
from modelyard.jobs.poison import halves
from modelyard.jobs.speed import Throughput
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.queue.records import Counts, TaskStatus

TASK = TaskSpec(0, 100)


def test_rows_count_when_they_have_results_and_seconds_always() -> None:
    left, right = halves(TASK)
    tally = Tally().done(TASK, Outcome(2.0, "w", parts=(left, right))).done(left, Outcome(0.5, "w")).retried()
    assert (tally.done_rows, tally.dead_rows, tally.retries) == (50, 0, 1)
    assert tally.usage == Usage(50, 2, 2.5)
    assert tally.cost.seconds_per_row == pytest.approx(0.01)
    buried = tally.buried(right)
    assert buried.dead_rows == 50
    assert buried.revived(right) == tally


@pytest.mark.parametrize(
    ("failures", "deaths", "ending", "retries"),
    [
        (0, 0, "done", 0),
        (2, 1, "done", 3),
        (0, 0, "split", 1),  # its runner died, and what it may have died of was set apart; or its results were too long
        (2, 0, "split", 3),  # the third failure ended with the split
        (1, 3, "split", 4),  # it was fetched only to be split: the third death was the last attempt
        (1, 0, "dead", 0),
        (2, 1, "dead", 2),
        (0, 0, "dead", 0),
    ],
)
def test_attempts_that_had_to_be_made_again(failures: int, deaths: int, ending: str, retries: int) -> None:
    outcomes = {"done": Outcome(1.0, "w"), "split": Outcome(1.0, "w", parts=halves(TASK)), "dead": None}
    status = TaskStatus(TASK.id, "dead" if ending == "dead" else "done", failures=failures, deaths=deaths)
    assert repeated(TASK, status, outcomes[ending], 3) == retries


def test_each_tenant_pays_for_what_it_uses() -> None:
    a, b = Account("a", "m@1"), Account("b", "m@1")
    usage = charged(charged(charged({}, a, Usage(1, 1, 0.5)), b, Usage(7, 2, 1.0)), a, Usage(2, 1, 0.25))
    assert usage == {a: Usage(3, 2, 0.75), b: Usage(7, 2, 1.0)}


def test_progress_is_what_queue_and_tally_say() -> None:
    throughput = Throughput.begin(0, 100.0).observe(200, 110.0)
    tally = Tally(done_rows=200, dead_rows=1, retries=3)
    told = progress(Plan(1001), tally, Counts(4, 2, 5, 1), throughput, ("w2", "w1"))
    assert told == Progress(1001, 200, 1, 12, 4, 2, 5, 3, ("w1", "w2"), 20.0, 150.0)
    assert told.left_rows == 800


def test_there_is_no_end_before_there_is_a_plan_or_after_it() -> None:
    throughput = Throughput.begin(0, 100.0).observe(10, 110.0)
    unknown = progress(None, Tally(), Counts(), throughput, ())
    assert (unknown.counted, unknown.left_rows, unknown.estimated_end_s) == (False, 0, 0.0)
    ended = progress(Plan(10), Tally(done_rows=10), Counts(done=1), throughput, ())
    assert (ended.counted, ended.left_rows, ended.estimated_end_s) == (True, 0, 0.0)
