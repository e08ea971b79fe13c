import pytest

from modelyard.backoff import Backoff


def test_delays_double_up_to_the_most_each_from_its_upper_half() -> None:
    for _ in range(50):
        backoff = Backoff(0.1, 1.0)
        for whole_s in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0):
            assert whole_s / 2 <= backoff.next() <= whole_s


def test_reset_begins_anew() -> None:
    backoff = Backoff(0.1, 10.0)
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.1


def test_two_that_wait_do_not_return_at_once() -> None:
    assert len({Backoff(1.0, 1.0).next() for _ in range(20)}) > 1


def test_the_first_delay_may_be_the_longest() -> None:
    backoff = Backoff(2.0, 2.0)
    assert [backoff.next() <= 2.0 for _ in range(3)] == [True] * 3
    assert pytest.approx(2.0, rel=0.5) == backoff.next()
