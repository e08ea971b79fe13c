"""How long what is gone stays."""

from __future__ import annotations

from modelyard.metrics.retention import Retention
from modelyard.names import ModelVersion

M1, M2 = ModelVersion("m", "1"), ModelVersion("m", "2")


def test_what_is_gone_stays_for_a_while_and_goes_then() -> None:
    retention = Retention(keep_s=10)
    assert retention.lapsed({M1, M2}, {M1, M2}, 0) == set()
    assert retention.lapsed({M1, M2}, {M2}, 100) == set()
    assert retention.lapsed({M1, M2}, {M2}, 109.9) == set()
    assert retention.lapsed({M1, M2}, {M2}, 110) == {M1}
    assert retention.lapsed({M2}, {M2}, 111) == set()


def test_what_comes_back_begins_anew() -> None:
    retention = Retention(keep_s=10)
    retention.lapsed({M1}, set(), 0)
    retention.lapsed({M1}, {M1}, 5)
    assert retention.lapsed({M1}, set(), 12) == set()
    assert retention.lapsed({M1}, set(), 22) == {M1}


def test_nothing_is_remembered_of_what_nobody_knows() -> None:
    retention = Retention(keep_s=10)
    retention.lapsed({M1}, set(), 0)
    retention.lapsed(set(), set(), 5)
    assert retention.lapsed({M1}, set(), 10) == set()
