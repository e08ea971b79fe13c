"""Inputs that killed two runners: refused for a while."""

from __future__ import annotations

import pytest

from modelyard.errors import ModelExecutionError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor import poison
from modelyard_scheduler.frontdoor.poison import REFUSED_S, Refusals, Suspicions, digest
from tests.runners import request

ONE, TWO = ModelVersion("m", "1"), ModelVersion("m", "2")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def is_refused(refusals: Refusals, version: ModelVersion, sent: bytes) -> bool:
    try:
        refusals.check(version, sent)
    except ModelExecutionError:
        return True
    return False


def test_the_digest_is_of_the_inputs_alone() -> None:
    assert digest(request(b"a")) == digest(request(b"a", version="3", priority=3, routing_key="k"))
    assert digest(request(b"a")) != digest(request(b"b"))
    assert digest(b"no request") != digest(b"none either")


def test_inputs_are_refused_for_a_while_to_their_version() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.add(ONE, request(b"a"))
    assert is_refused(refusals, ONE, request(b"a", version="1"))
    assert not is_refused(refusals, ONE, request(b"b"))
    assert not is_refused(refusals, TWO, request(b"a"))
    clock.now_s += REFUSED_S - 1
    refusals.add(ONE, request(b"b"))
    assert is_refused(refusals, ONE, request(b"a"))
    clock.now_s += 1
    assert not is_refused(refusals, ONE, request(b"a"))
    assert is_refused(refusals, ONE, request(b"b"))
    clock.now_s += REFUSED_S
    assert not is_refused(refusals, ONE, request(b"b"))
    assert len(refusals) == 0


def test_inputs_that_come_again_are_refused_anew() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.add(ONE, request(b"a"))
    clock.now_s += 50
    refusals.add(ONE, request(b"a"))
    clock.now_s += 50
    assert is_refused(refusals, ONE, request(b"a"))
    assert len(refusals) == 1


def test_the_oldest_of_too_many_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poison, "MAX_REFUSALS", 3)
    refusals = Refusals(Clock())
    for payload in (b"a", b"b", b"c", b"d"):
        refusals.add(ONE, request(payload))
    assert [is_refused(refusals, ONE, request(p)) for p in (b"a", b"b", b"c", b"d")] == [False, True, True, True]


def test_a_second_death_with_the_same_inputs_is_told_from_a_second_call_that_was_lost_in_the_first() -> None:
    clock = Clock()
    suspicions = Suspicions(clock)
    assert not suspicions.add(ONE, request(b"a"), 1)
    assert not suspicions.add(ONE, request(b"a", sequence_id=7), 1)
    assert not suspicions.add(ONE, request(b"b"), 2)
    assert not suspicions.add(TWO, request(b"a"), 2)
    clock.now_s += REFUSED_S - 1
    assert suspicions.add(ONE, request(b"a", sequence_id=8), 2)
    clock.now_s += REFUSED_S
    assert not suspicions.add(ONE, request(b"a"), 3)


def test_suspicions_are_held_for_a_while_or_until_the_inputs_did_no_harm() -> None:
    clock = Clock()
    suspicions = Suspicions(clock)
    suspicions.add(ONE, request(b"a"), 1)
    suspicions.add(ONE, request(b"b"), 1)
    held = [(v, p) for v in (ONE, TWO) for p in (b"a", b"b", b"c") if suspicions.holds(v, request(p))]
    assert held == [(ONE, b"a"), (ONE, b"b")]
    suspicions.forget(ONE, request(b"a", version="1"))
    assert [suspicions.holds(ONE, request(p)) for p in (b"a", b"b")] == [False, True]
    clock.now_s += REFUSED_S
    assert not suspicions.holds(ONE, request(b"b"))
    assert len(suspicions) == 0


def test_the_oldest_of_too_many_suspicions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poison, "MAX_SUSPICIONS", 2)
    suspicions = Suspicions(Clock())
    for payload in (b"a", b"b", b"c"):
        suspicions.add(ONE, request(payload), 1)
    assert [suspicions.add(ONE, request(p), 2) for p in (b"c", b"a")] == [True, False]
