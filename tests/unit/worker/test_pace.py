"""Which models are quick."""

from __future__ import annotations

from modelyard_worker.runner.pace import DOUBTS, LONG_S, QUICK_S, SHORT_S, Pace


def taught(*seconds: float) -> Pace:
    pace = Pace()
    for each in seconds:
        pace.took(each)
    return pace


def test_nothing_is_quick_before_it_was_seen_to_be() -> None:
    assert not taught().quick
    assert not taught(QUICK_S / 10).quick
    assert taught(*[QUICK_S / 10] * 20).quick


def test_one_interruption_does_not_matter_and_several_do() -> None:
    quick = [QUICK_S / 10] * 20
    assert taught(*quick, LONG_S).quick
    assert not taught(*quick, LONG_S, LONG_S).quick
    assert taught(*quick, *[LONG_S] * 5, *quick).quick


def test_what_took_long_once_is_not_expected_to_be_quick_for_a_while() -> None:
    quick = [QUICK_S / 10] * (DOUBTS - 1)
    doubted = taught(*quick, LONG_S * 1.01, *quick)
    assert not doubted.quick
    doubted.took(QUICK_S / 10)
    assert doubted.quick


def test_what_takes_longer_all_the_time_is_not_quick() -> None:
    assert not taught(*[QUICK_S / 10] * 20, *[QUICK_S * 1.5] * 20).quick


def test_short_is_the_last_batch() -> None:
    assert not taught().short
    assert taught(1.0, SHORT_S / 2).short
    assert not taught(SHORT_S / 2, SHORT_S).short
