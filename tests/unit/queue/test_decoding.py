from __future__ import annotations

import pytest

from modelyard.queue import decoding
from modelyard.queue.records import Depth, Ended, Failed, TaskName, TaskStatus

ENTRY = (b"7-0", {b"task": b"a"})


@pytest.mark.parametrize(
    "found", [[[b"key", [ENTRY]]], {b"key": [[ENTRY]]}], ids=["as a list", "as a map, of the newer protocol"]
)
def test_entries_are_read_in_both_forms(found: object) -> None:
    assert decoding.first_stream(found) == [ENTRY]


@pytest.mark.parametrize("found", [None, [], {}])
def test_no_entries_where_time_ran_out(found: object) -> None:
    assert decoding.first_stream(found) == []


def test_a_hash_is_read_as_the_driver_and_as_lua_gives_it() -> None:
    assert decoding.fields({b"a": b"1"}) == decoding.fields([b"a", b"1"]) == {"a": "1"}


def test_a_task_is_named_by_its_job_and_itself() -> None:
    assert decoding.task_name(b"job/task") == TaskName("job", "task")


def test_absent_fields_of_a_task_are_their_defaults_and_an_absent_task_is_none() -> None:
    assert decoding.task_status("a", [b"open", *[None] * 5]) == TaskStatus("a", "open")
    assert decoding.task_status("a", [None] * 6) is None


def test_what_has_ended_is_numbered_and_what_is_removed_just_now_left_out() -> None:
    statuses = [[b"done", b"ref", *[None] * 4], [None] * 6, [b"dead", None, b"odd", b"3", b"2", b"1"]]
    done, dead = TaskStatus("a", "done", b"ref"), TaskStatus("c", "dead", b"", "odd", 3, 2, 1)
    assert decoding.ended([7, [b"a", b"b", b"c"], statuses]) == [Ended(7, done), Ended(9, dead)]


def test_a_failure_without_delay() -> None:
    assert decoding.failed(b"retry", [1500]) == Failed("retry", 1.5)
    assert decoding.failed(b"dead", []) == Failed("dead")


def test_the_oldest_of_a_tenants_streams_counts() -> None:
    loads = [[b"t", [b"queued:m@1", b"3", b"in_flight:m@1", b"1", b"cap", b"9"]], [b"s", [b"in_flight:m@1", b"2"]]]
    ages = [[b"m@1", b"t", 500], [b"m@1", b"t", 2500], [b"m@1", b"t", 100]]
    assert decoding.depths([loads, ages]) == [Depth("s", "m@1", 0, 2, 0.0), Depth("t", "m@1", 3, 1, 2.5)]
