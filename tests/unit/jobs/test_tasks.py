from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.codec import decode, encode
from modelyard.errors import InvalidInputError
from modelyard.jobs.job import NO_ROW
from modelyard.jobs.poison import MOST_PARTS, isolated
from modelyard.jobs.tasks import Outcome, Shards, StoredPiece, TaskSpec, check_parts
from modelyard.names import check_name
from modelyard.queue.records import MAX_RESULT_BYTES

ENDS = st.lists(st.integers(0, 1 << 62), min_size=2, max_size=2, unique=True).map(sorted)
SHARDS = st.lists(st.integers(0, 1024), min_size=3, max_size=3, unique=True).map(lambda three: Shards(*sorted(three)))


@given(ENDS, st.none() | SHARDS, st.booleans())
def test_a_name_says_all_of_a_task(ends: list[int], shards: Shards | None, suspect: bool) -> None:
    task = TaskSpec(ends[0], ends[1], shards, suspect)
    assert TaskSpec.parse(check_name("task", task.id)) == task


@pytest.mark.parametrize(
    "name", ["", "r1", "r1-2x", "r-1-2", "k1-2.r1-2", "xr1-2", "r1-2\n", "r2-2", "k0-0-1.r0-1", "k0-2-1.r0-1", "r٣-٤"]
)
def test_other_names_are_none_of_tasks(name: str) -> None:
    with pytest.raises(InvalidInputError, match="expected rows as r0-100"):
        TaskSpec.parse(name)


def test_which_row_it_is() -> None:
    assert TaskSpec(7, 8).row == 7
    assert TaskSpec(7, 9).row == NO_ROW
    assert TaskSpec(7, 8, Shards(0, 1, 4)).row == NO_ROW


def test_outcomes_are_kept_as_json_and_fit_into_the_queue() -> None:
    big = 1 << 50
    task = TaskSpec(big, big + 10 * MOST_PARTS, Shards(1000, 1024, 1024))
    replaced = Outcome(1.5, "worker-1", parts=isolated(task, range(big, big + 10 * MOST_PARTS, 2)), reason="x" * 1000)
    done = Outcome(1.5, "worker-1", (StoredPiece("y", 10, 400, ("ab" * 32,), (10,)),))
    for outcome in (replaced, done):
        assert len(encode(outcome)) <= MAX_RESULT_BYTES
        assert decode(Outcome, encode(outcome)) == outcome


def test_parts_have_all_rows_once() -> None:
    task = TaskSpec(0, 10)
    check_parts(task, [TaskSpec(0, 4), TaskSpec(4, 10)])
    for parts in (
        [],
        [TaskSpec(0, 10)],
        [TaskSpec(0, 4), TaskSpec(5, 10)],
        [TaskSpec(0, 5), TaskSpec(4, 10)],
        [TaskSpec(0, 4), TaskSpec(4, 9)],
        [TaskSpec(0, 4), TaskSpec(4, 10, Shards(0, 1, 2))],
        [TaskSpec(0, 4), TaskSpec(4, 4), TaskSpec(4, 10)],
    ):
        with pytest.raises(InvalidInputError, match="task r0-10: expected parts with each of its rows once, got"):
            check_parts(task, parts)
