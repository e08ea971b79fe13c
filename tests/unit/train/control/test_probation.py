from __future__ import annotations

from modelyard.train.control.probation import FIRST_HOLD_S, LONGEST_HOLD_S, LONGEST_PAUSE_S, TRIES, Probation


def test_one_is_left_out_for_longer_each_time_up_to_a_bound() -> None:
    probation, now_s, holds = Probation(), 0.0, []
    for _ in range(8):
        probation.hold("a", now_s)
        holds.append(probation.until_s("a") - now_s)
        assert probation.free(["a", "b"], now_s) == ["b"]
        now_s = probation.until_s("a")
        assert probation.free(["a", "b"], now_s) == ["a", "b"]
    assert holds[:3] == [FIRST_HOLD_S, 2 * FIRST_HOLD_S, 4 * FIRST_HOLD_S]
    assert holds[-1] == LONGEST_HOLD_S


def test_a_newcomer_is_left_out_before_others_and_at_once_the_next_time() -> None:
    probation = Probation()
    for number in range(TRIES):
        assert probation.free(["a", "b"], 0.0) == ["a", "b"]
        probation.fail(["a", "b"], ["b"], number, 0.0)
    assert probation.free(["a", "b"], 0.0) == ["a"]
    probation.succeed(["a"])
    probation.fail(["a", "b"], ["b"], 9, 100.0)
    assert probation.free(["a", "b"], 100.0) == ["a"]


def test_one_whose_connection_breaks_again_and_again_is_left_out() -> None:
    probation = Probation()
    for _ in range(TRIES):
        probation.lose("a", 0.0)
    assert probation.free(["a"], 0.0) == ["a"]
    probation.lose("a", 0.0)
    assert probation.free(["a"], 0.0) == []


def test_tries_that_fail_are_further_apart_up_to_a_bound() -> None:
    probation, pauses = Probation(), []
    for number in range(20):
        probation.fail(["a"], [], number, 0.0)
        pauses.append(probation.pause_s())
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_of_equals_others_have_their_turn_each_time() -> None:
    chosen = {tuple(Probation().least_suspect("abcd", 2, number, 0.0)) for number in range(60)}
    assert {frozenset(pair) for pair in chosen} == {frozenset(pair) for pair in ("ab", "ac", "ad", "bc", "bd", "cd")}
