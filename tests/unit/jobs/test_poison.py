from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.jobs.poison import (
    MOST_PARTS,
    SPARE_DEATHS,
    Step,
    Verdict,
    after,
    before,
    cautious_rows,
    halves,
    isolated,
    killed,
    retry_policy,
)
from modelyard.jobs.tasks import Shards, TaskSpec, check_parts
from modelyard.queue.records import RetryPolicy
from tests.unit.jobs.submitted import SPEC

WHOLE, SUSPECT, ROW = TaskSpec(0, 8), TaskSpec(0, 4, suspect=True), TaskSpec(3, 4, suspect=True)


@pytest.mark.parametrize(
    ("task", "deaths", "step"),
    [
        (WHOLE, 0, Step.EXECUTE),
        (WHOLE, 2, Step.EXECUTE),
        (WHOLE, 3, Step.SPLIT),
        (SUSPECT, 0, Step.EXECUTE),
        (SUSPECT, 1, Step.SPLIT),
        (ROW, 2, Step.EXECUTE),
        (ROW, 3, Step.BURY),
        (TaskSpec(3, 4), 3, Step.BURY),
    ],
)
def test_what_killed_too_often_is_split_down_to_a_row(task: TaskSpec, deaths: int, step: Step) -> None:
    verdict = before(task, deaths, 3)
    assert verdict.step is step
    assert verdict.parts == (halves(task) if step is Step.SPLIT else ())


@pytest.mark.parametrize(
    ("task", "failures", "permanent", "step"),
    [
        (WHOLE, 0, False, Step.RETRY),
        (WHOLE, 1, False, Step.RETRY),
        (WHOLE, 2, False, Step.SPLIT),
        (WHOLE, 0, True, Step.SPLIT),
        (SUSPECT, 0, False, Step.SPLIT),
        (ROW, 1, False, Step.RETRY),
        (ROW, 2, False, Step.BURY),
        (ROW, 0, True, Step.BURY),
    ],
)
def test_rows_that_failed_too_often_are_taken_out_and_buried_alone(
    task: TaskSpec, failures: int, permanent: bool, step: Step
) -> None:
    assert after(task, failures, 3, [3], permanent=permanent).step is step


@pytest.mark.parametrize("task", [WHOLE, SUSPECT, ROW])
def test_what_is_no_rows_fault_is_tried_as_often_as_a_row_and_then_buried_whole(task: TaskSpec) -> None:
    assert [after(task, failures, 3).step for failures in range(3)] == [Step.RETRY, Step.RETRY, Step.BURY]
    assert after(task, 0, 3, permanent=True).step is Step.BURY


@pytest.mark.parametrize(
    ("task", "rows", "parts"),
    [
        (WHOLE, (2, 5), ["r0-2", "r2-5s", "r5-8"]),
        (WHOLE, (0, 5), ["r0-5s", "r5-8"]),
        (WHOLE, (7, 8), ["r0-7", "r7-8s"]),
        (SUSPECT, (3, 9), ["r0-3", "r3-4s"]),
        (TaskSpec(0, 8, Shards(0, 1, 4)), (0, 1), ["k0-1-4.r0-1s", "k0-1-4.r1-8"]),
    ],
)
def test_what_may_have_killed_is_set_apart(task: TaskSpec, rows: tuple[int, int], parts: list[str]) -> None:
    verdict = killed(task, *rows)
    assert (verdict.step, [part.id for part in verdict.parts]) == (Step.SPLIT, parts)
    check_parts(task, verdict.parts)


@pytest.mark.parametrize(("task", "rows"), [(WHOLE, (0, 8)), (WHOLE, (0, 0)), (WHOLE, (8, 9)), (ROW, (3, 4))])
def test_what_says_nothing_new_is_a_death(task: TaskSpec, rows: tuple[int, int]) -> None:
    assert killed(task, *rows) == Verdict(Step.RETRY)


def test_a_row_that_kills_is_found_in_a_few_deaths() -> None:
    task, deaths = TaskSpec(0, 100_000), 0
    while task.rows > 1:
        call = cautious_rows(task, 1)
        at = task.begin + (70_123 - task.begin) // call * call
        task = next(p for p in killed(task, at, at + call).parts if p.begin <= 70_123 < p.end)
        deaths += 1
    assert (task.id, deaths) == ("r70123-70124s", 3)


def test_only_what_some_have_died_with_is_handled_with_caution() -> None:
    assert [cautious_rows(WHOLE, 0), cautious_rows(WHOLE, 1), cautious_rows(ROW, 0)] == [0, 1, 1]
    assert cautious_rows(TaskSpec(0, 65), 1) == 2


def test_rows_that_are_known_are_taken_out() -> None:
    assert after(WHOLE, 2, 3, [6, 3]).parts == tuple(
        TaskSpec(*ends) for ends in ((0, 3), (3, 4), (4, 6), (6, 7), (7, 8))
    )
    assert isolated(TaskSpec(5, 7), {5, 6}) == (TaskSpec(5, 6), TaskSpec(6, 7))


@given(st.data())
def test_parts_are_all_of_a_task_and_few_enough(data: st.DataObject) -> None:
    begin, rows = data.draw(st.integers(0, 10**9)), data.draw(st.integers(2, 2000))
    shards = data.draw(st.sampled_from([None, Shards(2, 3, 8)]))
    task = TaskSpec(begin, begin + rows, shards, data.draw(st.booleans()))
    check_parts(task, halves(task))
    assert all(part.suspect for part in halves(task))
    at_fault = data.draw(st.sets(st.integers(task.begin, task.end - 1), min_size=1))
    parts = isolated(task, at_fault)
    check_parts(task, parts)
    assert len(parts) <= MOST_PARTS
    alone = {part.begin for part in parts if part.rows == 1}
    mixed = [part for part in parts if part.rows > 1 and at_fault & set(range(part.begin, part.end))]
    assert at_fault <= alone or mixed == [parts[-1]]


def test_every_second_row_at_fault_is_split_again() -> None:
    task = TaskSpec(0, 2000)
    parts = isolated(task, range(0, 2000, 2))
    assert parts[-1] == TaskSpec(497, 2000)
    check_parts(task, parts)


def test_the_queue_gives_up_later_than_the_workers() -> None:
    policy = retry_policy(replace(SPEC, max_attempts=4))
    assert policy == RetryPolicy(4, 4 + SPARE_DEATHS, 1.0, 60.0)
