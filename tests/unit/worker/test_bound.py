"""How many calls may wait, and when one that was refused may try again."""

from __future__ import annotations

import pytest

from modelyard.errors import ExhaustedError
from modelyard_worker.runner.bound import LONGEST_S, SHORTEST_S, QueueBound


def refusal(bound: QueueBound, waiting: int) -> ExhaustedError:
    with pytest.raises(ExhaustedError) as caught:
        bound.check(waiting)
    return caught.value


def test_so_many_may_wait() -> None:
    bound = QueueBound(2, 1)
    bound.check(1)
    assert refusal(bound, 2).message == "the queue is full: 2 calls wait, at most 2 may"


def test_without_a_bound_any_number_may_wait() -> None:
    QueueBound(0, 1).check(10**9)


def test_the_delay_is_the_time_in_which_half_of_those_who_wait_are_executed() -> None:
    bound = QueueBound(100, 2)
    bound.served(calls=4, busy_s=2.0)
    assert refusal(bound, 100).retry_after_s == pytest.approx(100 * 0.5 / 2 / 2)


def test_the_delay_follows_the_service_time_and_has_limits() -> None:
    bound = QueueBound(10, 1)
    assert refusal(bound, 10).retry_after_s == SHORTEST_S
    bound.served(1, 1.0)
    for _ in range(100):
        bound.served(1, 0.1)
    assert refusal(bound, 10).retry_after_s == pytest.approx(0.5, rel=0.01)
    for _ in range(100):
        bound.served(1, 1e6)
    assert refusal(bound, 10).retry_after_s == LONGEST_S


def test_who_cannot_be_in_time_is_refused_and_hears_when_it_could() -> None:
    bound = QueueBound(1000, 2)
    bound.served(calls=4, busy_s=0.4)
    bound.check_in_time(10, 1.0)
    with pytest.raises(ExhaustedError, match=r"11 calls wait for about 0\.55 s, 1 s are left") as caught:
        bound.check_in_time(11, 1.0)
    assert caught.value.retry_after_s == pytest.approx(0.05)


def test_as_long_as_nothing_was_executed_all_may_be_in_time() -> None:
    QueueBound(1000, 1).check_in_time(999, 0.001)


def test_a_slow_first_batch_is_forgotten_with_the_next() -> None:
    bound = QueueBound(1000, 1)
    bound.served(1, 10.0)
    with pytest.raises(ExhaustedError):
        bound.check_in_time(1, 1.0)
    bound.served(1, 0.01)
    bound.check_in_time(10, 1.0)
