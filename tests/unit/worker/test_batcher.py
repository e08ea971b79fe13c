"""Which calls go together, and when, on a fake clock."""

from __future__ import annotations

import gc
import random
import weakref

import pytest

from modelyard_worker.runner.batcher import DEAD_AT_MOST, PATIENCE, Batcher, BatchingOptions
from modelyard_worker.runner.line import Waiting


class Queue:
    """A batcher on a fake clock."""

    def __init__(self, **options: object) -> None:
        self.now_s = 100.0
        self.batcher: Batcher[str] = Batcher(BatchingOptions(**options))  # type: ignore[arg-type]

    def add(self, call: str, rows: int = 1, kind: object = "k", **facts: object) -> Waiting[str]:
        waiting = Waiting(call, kind, rows, self.now_s, **facts)  # type: ignore[arg-type]
        self.batcher.add(waiting)
        return waiting

    def take(self) -> str:
        return "".join(w.call for w in self.batcher.take(self.now_s))

    def later(self, seconds: float) -> None:
        self.now_s += seconds


def test_without_batching_calls_go_one_by_one_in_their_order() -> None:
    queue = Queue()
    for call in "abc":
        queue.add(call)
    assert [queue.take() for _ in range(4)] == ["a", "b", "c", ""]


def test_without_delay_what_has_queued_up_goes_together() -> None:
    queue = Queue(max_rows=3)
    for call in "abcd":
        queue.add(call)
    assert [queue.take(), queue.take(), queue.take()] == ["abc", "d", ""]


def test_a_batch_waits_until_its_first_call_has_waited_long_enough() -> None:
    queue = Queue(max_rows=8, max_delay_s=0.5)
    queue.add("a")
    assert queue.take() == ""
    assert queue.batcher.next_s() == 100.5
    queue.later(0.4)
    queue.add("b")
    assert (queue.take(), queue.batcher.next_s()) == ("", 100.5)
    queue.later(0.1)
    assert queue.take() == "ab"
    assert queue.batcher.next_s() is None


def test_a_full_batch_does_not_wait() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a", rows=3)
    assert queue.take() == ""
    queue.add("b", rows=1)
    assert queue.batcher.next_s() == 100.0
    assert queue.take() == "ab"


def test_rows_that_would_fill_a_batch_do_not_wait_though_they_do_not_fit_into_one() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a", rows=3)
    queue.add("b", rows=2)
    assert [queue.take(), queue.take()] == ["a", ""]


def test_a_call_with_more_rows_than_a_batch_may_have_goes_alone_at_once() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a", rows=5)
    queue.add("b", rows=1)
    assert [queue.take(), queue.take()] == ["a", ""]


def test_a_call_that_does_not_fit_any_more_is_not_overtaken() -> None:
    queue = Queue(max_rows=4)
    for call, rows in (("a", 3), ("b", 2), ("c", 1), ("d", 1)):
        queue.add(call, rows)
    assert [queue.take(), queue.take()] == ["a", "bcd"]


def test_a_preferred_size_does_not_wait_and_what_is_over_stays() -> None:
    queue = Queue(max_rows=8, max_delay_s=9, preferred_rows=(2, 4, 99))
    queue.add("a")
    assert queue.take() == ""
    for call in "bcde":
        queue.add(call)
    assert [queue.take(), queue.take()] == ["abcd", ""]
    queue.later(9)
    assert queue.take() == "e"


def test_only_like_goes_with_like() -> None:
    queue = Queue(max_rows=4)
    for call, kind in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")):
        queue.add(call, kind=kind)
    assert [queue.take(), queue.take(), queue.take()] == ["ac", "bd", ""]


def test_a_kind_that_waits_for_more_does_not_keep_a_full_one_from_going() -> None:
    queue = Queue(max_rows=2, max_delay_s=9)
    queue.add("a", kind="x")
    queue.add("b", kind="y")
    assert queue.take() == ""
    queue.add("c", kind="y")
    assert [queue.take(), queue.take()] == ["bc", ""]
    assert queue.batcher.next_s() == 109.0


def test_no_kind_waits_for_ever_behind_one_that_is_always_full() -> None:
    queue = Queue(max_rows=2, max_delay_s=1)
    queue.add("x", kind="rare")
    taken = []
    for _ in range(20):
        queue.add("a")
        queue.add("b")
        taken.append(queue.take())
        queue.later(0.1)
    assert "x" in taken
    assert set(taken) == {"ab", "x"}


def test_who_has_waited_long_enough_goes_though_others_of_a_better_priority_have_not() -> None:
    queue = Queue(max_rows=4, max_delay_s=1)
    queue.add("a", kind="x", priority=9)
    queue.later(1)
    queue.add("b", kind="y", priority=1)
    assert [queue.take(), queue.take()] == ["a", ""]
    queue.later(1)
    assert queue.take() == "b"


def test_what_cannot_be_stacked_goes_alone_at_once() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a", kind=None)
    queue.add("b", kind=None)
    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", ""]


def test_what_goes_alone_does_not_wait_behind_a_kind_that_waits_for_more() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a")
    queue.add("b", kind=None)
    assert queue.batcher.next_s() == 100.0
    assert [queue.take(), queue.take()] == ["b", ""]
    assert queue.batcher.next_s() == 109.0


def test_the_lower_priority_number_goes_first() -> None:
    queue = Queue(max_rows=2)
    for call, priority in (("a", 5), ("b", 9), ("c", 1), ("d", 5), ("e", 1)):
        queue.add(call, priority=priority)
    assert [queue.take() for _ in range(3)] == ["ce", "ad", "b"]


def test_nobody_waits_for_ever_behind_better_priorities() -> None:
    queue = Queue()
    for call in "xyz":
        queue.add(call, priority=9)
    taken = ""
    for _ in range(4 * (PATIENCE + 1)):
        queue.add("a", priority=1)
        taken += queue.take()
    assert taken == "a" * PATIENCE + "x" + "a" * PATIENCE + "y" + "a" * PATIENCE + "z" + "a" * (PATIENCE + 1)


def test_who_has_been_passed_over_begins_a_batch_though_others_of_its_kind_would_fill_one() -> None:
    queue = Queue(max_rows=2, max_delay_s=1)
    queue.add("z", priority=9)
    taken = []
    for _ in range(PATIENCE + 2):
        queue.add("a", priority=1)
        queue.add("a", priority=1)
        taken.append(queue.take())
    assert taken == ["aa"] * PATIENCE + ["za", "aa"]


def test_who_has_been_passed_over_and_is_not_due_yet_goes_when_it_is() -> None:
    queue = Queue(max_rows=2, max_delay_s=9)
    queue.add("z", kind="rare", priority=9)
    for _ in range(PATIENCE + 2):
        queue.add("a")
        queue.add("a")
        assert queue.take() == "aa"
    queue.later(9)
    queue.add("a")
    queue.add("a")
    assert [queue.take(), queue.take()] == ["z", "aa"]


def test_a_cancelled_call_is_not_executed_and_counts_for_nobody() -> None:
    queue = Queue(max_rows=2, max_delay_s=9)
    first = queue.add("a")
    queue.later(5)
    queue.add("b")
    assert queue.batcher.cancel(first)
    assert not queue.batcher.cancel(first)
    assert (len(queue.batcher), queue.take(), queue.batcher.next_s()) == (1, "", 114.0)
    queue.add("c")
    assert queue.take() == "bc"
    assert not queue.batcher.cancel(first)


def test_a_batch_that_is_no_longer_full_waits_again() -> None:
    queue = Queue(max_rows=2, max_delay_s=9)
    queue.add("a")
    second = queue.add("b")
    assert queue.batcher.next_s() == 100.0
    assert queue.batcher.cancel(second)
    assert (queue.take(), queue.batcher.next_s()) == ("", 109.0)


def test_expired_calls_are_told_and_not_executed() -> None:
    queue = Queue(max_rows=4, max_delay_s=9)
    queue.add("a", expires_s=101.0)
    queue.add("b", expires_s=103.0)
    queue.add("c")
    assert queue.batcher.next_s() == 101.0
    queue.later(1)
    assert [w.call for w in queue.batcher.expired(queue.now_s)] == ["a"]
    assert queue.batcher.next_s() == 103.0
    queue.later(8)
    assert [w.call for w in queue.batcher.expired(queue.now_s)] == ["b"]
    assert queue.take() == "c"
    assert queue.batcher.expired(queue.now_s) == []


def test_a_call_that_was_taken_does_not_expire() -> None:
    queue = Queue()
    queue.add("a", expires_s=101.0)
    assert queue.take() == "a"
    queue.later(5)
    assert queue.batcher.expired(queue.now_s) == []
    assert queue.batcher.next_s() is None


class Request:
    """Something large."""


def test_nothing_is_kept_of_a_call_that_has_left() -> None:
    batcher: Batcher[Request] = Batcher(BatchingOptions(max_rows=4))
    batcher.add(Waiting(Request(), "k", 1, 0.0, expires_s=1e9))
    kept = [Waiting(Request(), "k", 1, 0.0, expires_s=1e9) for _ in range(2)]
    calls = [weakref.ref(w.call) for w in kept]
    for waiting in kept:
        batcher.add(waiting)
    assert batcher.cancel(kept[1])
    del kept, waiting
    assert len(batcher.take(0.0)) == 2
    gc.collect()
    assert [c() for c in calls] == [None, None]


@pytest.mark.parametrize("cancelled", [True, False])
def test_deadlines_far_away_do_not_pile_up(cancelled: bool) -> None:
    queue = Queue(max_rows=4)
    for number in range(1_000):
        waiting = queue.add("a", expires_s=1e9 + number)
        assert queue.batcher.cancel(waiting) if cancelled else queue.take()
        assert len(queue.batcher._expiring) <= DEAD_AT_MOST + 3


class Counted:
    """A kind that counts how often it is looked at."""

    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return 1

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return self is other


@pytest.mark.parametrize("max_delay_s", [0.0, 1.0])
def test_the_work_for_a_call_does_not_grow_with_the_queue(max_delay_s: float) -> None:
    def looks(calls: int) -> int:
        queue = Queue(max_rows=8, max_delay_s=max_delay_s)
        kind = Counted()
        queue.add("first", kind="rare")
        for _ in range(calls):
            queue.add("a", kind=kind)
        Counted.looks = 0
        queue.batcher.next_s()
        queue.batcher.take(queue.now_s)
        queue.batcher.take(queue.now_s)
        return Counted.looks

    assert looks(4_000) == looks(40)


@pytest.mark.parametrize("seed", range(20))
def test_every_call_is_taken_cancelled_or_expired_exactly_once(seed: int) -> None:
    rng = random.Random(seed)
    max_rows = rng.choice((1, 4, 8))
    queue = Queue(max_rows=max_rows, max_delay_s=rng.choice((0, 0.3)), preferred_rows=(2, 5))
    outcomes: list[str] = []
    waiting: list[Waiting[str]] = []
    for number in range(300):
        expires_s = rng.choice((None, queue.now_s + rng.random()))
        kind = rng.choice(("x", "y", None))
        waiting.append(queue.add(f"{number}", rng.randint(1, 9), kind, priority=rng.randint(0, 2), expires_s=expires_s))
        if rng.random() < 0.2:
            one = rng.choice(waiting)
            outcomes += [one.call] if queue.batcher.cancel(one) else []
        queue.later(rng.random() * 0.2)
        outcomes += [w.call for w in queue.batcher.expired(queue.now_s)]
        next_s = queue.batcher.next_s()
        if rng.random() < 0.4:
            batch = queue.batcher.take(queue.now_s)
            assert bool(batch) == (next_s is not None and next_s <= queue.now_s)
            assert len({w.kind for w in batch}) <= 1
            assert len(batch) <= 1 or (batch[0].kind and sum(w.rows for w in batch) <= max_rows)
            outcomes += [w.call for w in batch]
    while (next_s := queue.batcher.next_s()) is not None:
        queue.now_s = max(queue.now_s, next_s)
        outcomes += [w.call for w in queue.batcher.expired(queue.now_s)]
        outcomes += [w.call for w in queue.batcher.take(queue.now_s)]
    assert sorted(outcomes) == sorted(w.call for w in waiting)
    assert len(queue.batcher) == 0
    assert (queue.batcher._kinds, queue.batcher._complete, queue.batcher._can_expire) == ({}, {}, {})
