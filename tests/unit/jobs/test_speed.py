from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.jobs.speed import Cost, Throughput


@given(st.lists(st.floats(0.01, 30.0), min_size=1, max_size=20))
def test_a_steady_speed_is_found_at_once_and_stays(steps: list[float]) -> None:
    now_s, speed = 0.0, Throughput.begin(0, 0.0)
    for step in steps:
        now_s += step
        speed = speed.observe(round(now_s * 1e6), now_s)
        assert speed.rows_per_s == pytest.approx(1e6, rel=1e-3)


def test_what_is_long_ago_is_forgotten() -> None:
    speed = Throughput.begin(0, 0.0).observe(1000, 10.0)
    assert speed.rows_per_s == pytest.approx(100.0)
    slower = speed.observe(1100, 20.0)
    # 500 of 1000 rows and 5 of 10 seconds are left after a half-life.
    assert slower.rows_per_s == pytest.approx(600 / 15)
    for now_s in range(30, 200, 10):
        slower = slower.observe(slower.counted + 100, float(now_s))
    assert slower.rows_per_s == pytest.approx(10.0, rel=0.01)


def test_when_it_ends() -> None:
    assert Throughput.begin(0, 0.0).estimated_end_s(100) == 0.0
    assert Throughput.begin(0, 0.0).observe(50, 10.0).estimated_end_s(100) == pytest.approx(30.0)
    assert Throughput.begin(0, 0.0).observe(0, 10.0).estimated_end_s(100) == 0.0


def test_pauses_and_clocks_that_go_back_do_not_count() -> None:
    speed = Throughput.begin(0, 0.0).observe(100, 10.0)
    assert speed.resume(1000.0).observe(200, 1010.0).rows_per_s == pytest.approx(10.0)
    assert speed.observe(100, 5.0).rows_per_s == pytest.approx(10.0)
    assert speed.observe(90, 10.0).rows_per_s == pytest.approx(10.0)


def test_a_row_costs_what_tasks_took_of_late() -> None:
    assert Cost().seconds_per_row == 0.0
    cost = Cost().observe(100, 1.0)
    assert cost.seconds_per_row == pytest.approx(0.01)
    assert cost.observe(0, 5.0) == cost
    for _ in range(60):
        cost = cost.observe(100, 3.0)
    assert cost.seconds_per_row == pytest.approx(0.03, rel=0.01)
