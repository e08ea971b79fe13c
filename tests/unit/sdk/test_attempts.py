from __future__ import annotations

import pytest

from modelyard.errors import DeadlineError, NotFoundError, UnavailableError
from modelyard.sdk.attempts import FIRST_DELAY_S, JITTER, MAX_DELAY_S, Attempts


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_each_attempt_has_what_is_left_of_the_deadline() -> None:
    clock = Clock()
    attempts = Attempts(10, clock)
    assert attempts.left_s() == 10
    clock.now_s += 4
    assert attempts.left_s() == 6
    clock.now_s += 40
    assert attempts.left_s() == 0


def test_delays_grow_up_to_a_bound() -> None:
    attempts = Attempts(1000, Clock())
    delays = [attempts.delay_s(UnavailableError("loading")) for _ in range(20)]
    assert FIRST_DELAY_S / 2 <= delays[0] <= FIRST_DELAY_S
    assert MAX_DELAY_S / 2 <= delays[-1] <= MAX_DELAY_S


def test_the_servers_delay_is_kept_to_but_not_by_all_at_once() -> None:
    delays = {Attempts(10, Clock()).delay_s(UnavailableError("loading", retry_after_s=2.5)) for _ in range(50)}
    assert 2.5 <= min(delays) < max(delays) <= 2.5 * (1 + JITTER)


@pytest.mark.parametrize("asked_s", [0.0, 0.01])
def test_a_server_cannot_ask_for_more_haste(asked_s: float) -> None:
    attempts = Attempts(1000, Clock())
    delays = [attempts.delay_s(UnavailableError("loading", retry_after_s=asked_s)) for _ in range(20)]
    assert delays[0] >= FIRST_DELAY_S / 2
    assert delays[-1] >= MAX_DELAY_S / 2


def test_what_is_taken_up_has_its_whole_time_again_and_waits_no_less() -> None:
    clock = Clock()
    attempts = Attempts(10, clock)
    for _ in range(20):
        attempts.delay_s(UnavailableError("loading"))
    clock.now_s += 9
    attempts.extend()
    assert attempts.left_s() == 10
    assert attempts.delay_s(UnavailableError("loading")) >= MAX_DELAY_S / 2
    attempts.restart()
    assert attempts.delay_s(UnavailableError("loading")) <= FIRST_DELAY_S


def test_there_is_time_for_the_longest_delay() -> None:
    attempts = Attempts(0.5, Clock())
    assert all(attempts.delay_s(UnavailableError("loading")) < 0.5 for _ in range(20))


def test_a_delay_beyond_the_deadline_ends_the_attempts() -> None:
    error = UnavailableError("loading", retry_after_s=2.5)
    with pytest.raises(UnavailableError) as raised:
        Attempts(2, Clock()).delay_s(error)
    assert raised.value is error


def test_other_errors_end_the_attempts() -> None:
    with pytest.raises(NotFoundError):
        Attempts(10, Clock()).delay_s(NotFoundError("no"))


def test_a_deadline_after_unavailable_answers_reports_the_last_of_them() -> None:
    attempts = Attempts(10, Clock())
    attempts.delay_s(UnavailableError("first"))
    attempts.delay_s(UnavailableError("last"))
    with pytest.raises(UnavailableError, match="last"):
        attempts.delay_s(DeadlineError("late"))


def test_a_deadline_alone_is_reported_as_such() -> None:
    with pytest.raises(DeadlineError):
        Attempts(10, Clock()).delay_s(DeadlineError("late"))


def test_restarting_gives_the_whole_time_again() -> None:
    clock = Clock()
    attempts = Attempts(10, clock)
    clock.now_s += 9
    attempts.restart()
    assert attempts.left_s() == 10
