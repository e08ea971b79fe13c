from __future__ import annotations

from dataclasses import replace

from modelyard.deployment import Instance, InstanceOptions, InstanceState
from modelyard_scheduler.failures import AVOIDED_S, PATIENCE_S, Failures
from tests.unit.scheduler.simulation import FAILED, LOADING, READY, deployment, key

SITE = (key("m"), "a")
WANTED = {key("m"): deployment("m")}


def said(state: InstanceState, failures: int = 1) -> list[Instance]:
    return [Instance("m", "1", "a", state, "no such operator", failures=failures)]


def observed(*told: tuple[float, InstanceState, int]) -> Failures:
    found = Failures()
    for now_s, state, failures in told:
        found.observe(said(state, failures), WANTED, now_s)
    return found


def test_three_failures_or_thirty_seconds_are_enough() -> None:
    assert not observed((0, FAILED, 2)).avoided(WANTED)
    assert observed((0, FAILED, 3)).avoided(WANTED) == {SITE}
    assert not observed((0, FAILED, 1), (PATIENCE_S - 1, FAILED, 1)).avoided(WANTED)
    assert observed((0, FAILED, 1), (PATIENCE_S, FAILED, 1)).avoided(WANTED) == {SITE}


def test_an_attempt_in_between_does_not_begin_the_time_anew_but_an_answer_does() -> None:
    assert observed((0, FAILED, 1), (20, LOADING, 1), (PATIENCE_S, FAILED, 2)).avoided(WANTED) == {SITE}
    assert not observed((0, FAILED, 1), (20, READY, 1), (PATIENCE_S, FAILED, 2)).avoided(WANTED)
    assert not observed((0, LOADING, 0), (PATIENCE_S, LOADING, 0)).avoided(WANTED)


def test_what_failed_is_avoided_for_a_while_only() -> None:
    found = observed((0, FAILED, 3))
    found.observe([], WANTED, AVOIDED_S - 1)
    assert found.avoided(WANTED) == {SITE}
    assert found.reason(WANTED[key("m")], "a") == "no such operator"
    assert found.reason(WANTED[key("m")], "b") == ""
    found.observe([], WANTED, AVOIDED_S)
    assert not found.avoided(WANTED)
    assert found.reason(WANTED[key("m")], "a") == ""


def test_other_options_are_tried_everywhere_and_an_end_forgets() -> None:
    found = observed((0, FAILED, 3))
    other = {key("m"): replace(WANTED[key("m")], options=InstanceOptions(device="cpu"))}
    assert not found.avoided(other)
    assert not found.avoided({})
    found.observe([], {}, 1)
    assert not found.avoided(WANTED)


def test_to_end_soon_after_each_answer_is_to_fail() -> None:
    crashes = [(10 * n + k, state, n + k) for n in range(3) for k, state in enumerate((READY, LOADING))]
    assert not observed(*crashes[:4]).avoided(WANTED)
    assert observed(*crashes).avoided(WANTED) == {SITE}
