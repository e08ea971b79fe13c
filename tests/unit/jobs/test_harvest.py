from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from modelyard.jobs.harvest import harvest
from modelyard.jobs.planning import Pace, Plan, extend
from modelyard.jobs.poison import halves, isolated
from modelyard.jobs.tasks import Outcome, StoredPiece, TaskSpec

PLAN = extend(Plan(192), Pace(0.0, 1), 3)


def done(task: TaskSpec) -> Outcome:
    return Outcome(1.0, "w", (StoredPiece("", task.rows, 100, (task.id,)),))


@given(st.integers(0, 1 << 30))
def test_each_row_counts_once_and_in_order_whatever_was_split(seed: int) -> None:
    chance = random.Random(seed)
    outcomes: dict[str, Outcome] = {}
    dead: set[str] = set()
    waiting = list(PLAN.tasks())
    while waiting:
        task = waiting.pop()
        kind = chance.random()
        if kind < 0.4 and task.rows > 1:
            faults = chance.sample(range(task.begin, task.end), chance.randint(1, min(task.rows, 4)))
            parts = halves(task) if kind < 0.2 else isolated(task, faults)
            outcomes[task.id] = Outcome(1.0, "w", parts=parts)
            waiting.extend(parts)
        elif kind < 0.8:
            outcomes[task.id] = done(task)
        elif kind < 0.9:
            dead.add(task.id)
    found = harvest(PLAN, outcomes, dead)
    everything = sorted([*(task for task, _ in found.done), *found.open, *found.dead], key=lambda task: task.begin)
    assert [row for task in everything for row in range(task.begin, task.end)] == list(range(192))
    begins = [task.begin for task, _ in found.done]
    assert begins == sorted(begins)
    assert found.rows + found.dead_rows + sum(task.rows for task in found.open) == 192
    assert {task.id for task in found.dead} == dead
    assert sum(piece.rows for piece in found.pieces()) == found.rows


def test_pieces_of_each_output_are_in_the_order_of_rows() -> None:
    first, second, third = PLAN.tasks()
    left, right = halves(second)
    pieces = {
        task.id: Outcome(1.0, "w", tuple(StoredPiece(name, task.rows, 9, (task.id + name,)) for name in ("a", "b")))
        for task in (third, right, first, left)
    }
    found = harvest(PLAN, {**pieces, second.id: Outcome(1.0, "w", parts=(left, right))}, ())
    assert [piece.chunks[0] for piece in found.pieces("b")] == ["r0-64b", "r64-96sb", "r96-128sb", "r128-192b"]
    assert not found.open


def test_parts_that_a_task_would_have_do_not_count_if_it_has_results() -> None:
    first = next(PLAN.tasks())
    left, _ = halves(first)
    found = harvest(PLAN, {first.id: done(first), left.id: done(left)}, ())
    assert [task for task, _ in found.done] == [first]


def test_another_file_has_another_etag() -> None:
    first, second, _ = PLAN.tasks()
    one = harvest(PLAN, {first.id: done(first)}, ())
    more = harvest(PLAN, {first.id: done(first), second.id: done(second)}, ())
    assert one.etag != more.etag
    assert one.etag == harvest(PLAN, {first.id: done(first)}, {second.id}).etag
