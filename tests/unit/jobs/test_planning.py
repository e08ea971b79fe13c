from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.codec import decode, encode
from modelyard.datasets.sharding import Sizing
from modelyard.jobs.planning import Pace, Plan, default_shards, extend, missing_tasks
from modelyard.jobs.tasks import Shards

SIZING = Sizing(most_rows=500, probe_rows=7)
PACES = st.builds(Pace, st.sampled_from([0.0, 0.0001, 0.003, 0.02, 0.5, 9.0]), st.integers(0, 9), st.just(SIZING))
STEPS = st.lists(st.tuples(PACES, st.integers(0, 12)), max_size=25)


@given(st.integers(0, 3000), STEPS)
def test_whatever_the_pace_each_row_has_one_task_and_what_was_planned_stays(
    rows: int, steps: list[tuple[Pace, int]]
) -> None:
    plan = Plan(rows)
    for pace, tasks in [*steps, (Pace(0.001, 2, SIZING), 10_000)]:
        before, plan = plan, extend(plan, pace, tasks)
        planned, old = list(plan.tasks()), list(before.tasks())
        assert planned[: len(old)] == old
        assert list(plan.tasks(before.planned)) == planned[len(old) :]
        assert [row for task in planned for row in range(task.begin, task.end)] == list(range(plan.planned))
        largest = pace.rows_a_task(rows - before.planned)
        assert all(0 < task.rows <= largest * 1.25 for task in planned[len(old) :])
        assert plan.whole or len(planned) == len(old) + tasks
    assert plan.whole
    assert plan.planned == rows
    assert decode(Plan, encode(plan)) == plan


@given(st.lists(st.integers(0, 200), min_size=1, max_size=60), STEPS)
def test_each_shard_has_one_task(shard_rows: list[int], steps: list[tuple[Pace, int]]) -> None:
    plan = Plan(sum(shard_rows), shard_rows=tuple(shard_rows))
    for pace, tasks in [*steps, (Pace(0.001, 2, SIZING), 10_000)]:
        before, plan = plan, extend(plan, pace, tasks)
        planned, old = list(plan.tasks()), list(before.tasks())
        assert planned[: len(old)] == old
        assert list(plan.tasks(before.planned)) == planned[len(old) :]
        assert len(plan.segments) <= len(before.segments) + tasks
    assert plan.whole
    owner: dict[int, int] = {}
    for task in planned:
        assert task.shards
        assert task.shards.of == len(shard_rows)
        assert (task.begin, task.end) == (0, sum(shard_rows[task.shards.begin : task.shards.end]))
        owner.update(dict.fromkeys(range(task.shards.begin, task.shards.end), task.rows))
    assert len(owner) + sum(rows == 0 for number, rows in enumerate(shard_rows) if number not in owner) == len(
        shard_rows
    )
    assert sum(task.rows for task in planned) == sum(shard_rows)


def test_only_new_tasks_can_be_asked_for() -> None:
    first = extend(Plan(1000), Pace(0.0, 2), 3)
    second = extend(first, Pace(0.01, 2), 3)
    assert [task.id for task in first.tasks()] == ["r0-64", "r64-128", "r128-192"]
    assert list(second.tasks(first.planned)) == list(second.tasks())[3:]


def test_tasks_get_the_size_that_the_speed_makes_right() -> None:
    probed = extend(Plan(100_000), Pace(0.0, 2), 4)
    assert {task.rows for task in probed.tasks()} == {64}
    known = extend(probed, Pace(0.001, 2), 4)
    assert {task.rows for task in known.tasks(probed.planned)} == {2500}


def test_at_the_end_there_is_one_for_everybody() -> None:
    plan = extend(Plan(10_000), Pace(0.001, 4), 100)
    assert [task.rows for task in plan.tasks()] == [2500] * 4
    tail = extend(Plan(6000), Pace(0.001, 4), 100)
    assert [task.rows for task in tail.tasks()] == [1500] * 4


def test_no_remnant_is_left_for_a_task_of_its_own() -> None:
    assert [task.rows for task in extend(Plan(100), Pace(0.0, 1), 1).tasks()] == [50, 50]
    assert [task.rows for task in extend(Plan(128), Pace(0.0, 1), 1).tasks()] == [64]


def test_a_long_job_has_a_short_plan() -> None:
    plan = Plan(1_000_000)
    for number in range(10_000):
        plan = extend(plan, Pace(0.01 * (1.1 if number % 2 else 1.0), 2), 1)
    assert plan.whole
    assert len(plan.segments) < 30


def test_shards_are_put_together_until_there_is_enough_to_do() -> None:
    plan = Plan(40, shard_rows=(10, 0, 10, 0, 0, 20))
    planned = extend(plan, Pace(0.0, 1, Sizing(probe_rows=20)), 9)
    assert [task.shards for task in planned.tasks()] == [Shards(0, 5, 6), Shards(5, 6, 6)]
    assert [task.id for task in planned.tasks()] == ["k0-5-6.r0-20", "k5-6-6.r0-20"]
    assert not list(extend(Plan(0, shard_rows=(0, 0)), Pace(0.0, 1), 9).tasks())


@pytest.mark.parametrize(("rows", "shards"), [(0, 1), (64, 1), (65, 2), (10**9, 1024)])
def test_shards_are_as_fine_as_tasks(rows: int, shards: int) -> None:
    assert default_shards(rows) == shards


def test_there_is_something_to_fetch_for_everybody() -> None:
    assert missing_tasks(0, 3) == 12
    assert missing_tasks(11, 3) == 1
    assert missing_tasks(50, 3) == 0
    assert missing_tasks(0, 0) == 4
