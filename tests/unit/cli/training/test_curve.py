from __future__ import annotations

import math

import pytest

from modelyard.cli.training.curve import NOT_FINITE, Curve, sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([5.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "▁▂▃▄▅▆▇█"),
        ([3.0, 1.0, math.nan, 2.0], f"█▁{NOT_FINITE}▅"),
        ([math.inf], NOT_FINITE),
    ],
)
def test_values_are_blocks(values: list[float], drawn: str) -> None:
    assert sparkline(values, len(values)) == drawn


def test_there_are_as_many_blocks_as_there_is_room() -> None:
    assert sparkline([0.0, 7.0, 3.0], 7) == "▁▁▁██▄▄"
    assert sparkline([], 7) == ""
    assert sparkline([0.0, 2.0, 9.0, 7.0, 4.0, 4.0], 3) == "▁█▄"
    assert len(sparkline([float(n) for n in range(1000)], 17)) == 17


def test_a_curve_has_a_bounded_number_of_means() -> None:
    curve = Curve(most=8)
    counts = []
    for value in range(1001):
        curve.add(float(value))
        counts.append(len(curve.values))
    assert max(counts) <= 8
    assert curve.last == 1000.0
    assert curve.values[-1] > 900
    assert curve.values == sorted(curve.values)


def test_no_value_is_lost() -> None:
    curve = Curve(most=4)
    for value in range(16):
        curve.add(float(value))
    assert sum(curve.values) / len(curve.values) == pytest.approx(7.5)
