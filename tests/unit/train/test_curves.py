"""Learning curves are drawn: what is where is looked at pixel by pixel."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from modelyard.train.curves import HEIGHT, WIDTH, Chart, png, ticks

BLUE, ORANGE = (0x1F, 0x6F, 0xD6), (0xE0, 0x70, 0x1B)


def picture(*charts: Chart) -> Image.Image:
    return Image.open(io.BytesIO(png(charts))).convert("RGB")


def places(image: Image.Image, colour: tuple[int, int, int], top: int = 60) -> list[tuple[int, int]]:
    """Where there is nearly that colour, below the legend."""
    near = np.abs(np.asarray(image, np.int16)[top:] - np.array(colour, np.int16)).max(2) < 40
    return [(int(x), int(y) + top) for y, x in np.argwhere(near)]


def test_lines_go_where_the_values_are() -> None:
    falling = [(step, 1.0 - step / 100) for step in range(101)]
    image = picture(Chart("loss", {"training": falling, "validation": [(0, 0.0), (100, 1.0)]}))
    assert image.size == (WIDTH, HEIGHT)
    blue, orange = places(image, BLUE), places(image, ORANGE)
    assert min(blue)[1] < HEIGHT / 4 < 3 * HEIGHT / 4 < max(blue)[1]
    assert min(orange)[1] > 3 * HEIGHT / 4 > HEIGHT / 4 > max(orange)[1]
    assert max(blue)[0] - min(blue)[0] > 0.8 * WIDTH


def test_what_is_not_finite_leaves_a_gap() -> None:
    gap = [(step, math.nan if 40 <= step <= 60 else 0.5) for step in range(101)]
    columns = {x for x, _ in places(picture(Chart("loss", {"training": gap})), BLUE)}
    left, right = 90, WIDTH - 24
    middle = (left + right) // 2
    assert columns
    assert columns.isdisjoint(range(middle - 60, middle + 60))
    assert {x < middle for x in columns} == {True, False}


@pytest.mark.parametrize(
    "points", [[], [(3, 0.5)], [(0, math.inf)], [(0, 0.0), (10**7, 1e-30)], [(1, -1e30), (2, 1e30)]]
)
def test_any_values_can_be_drawn(points: list[tuple[int, float]]) -> None:
    image = picture(Chart("a", {"x": points}), Chart("b", {}))
    assert image.size == (WIDTH, 2 * HEIGHT)


def test_very_long_lines_are_drawn_to_their_end() -> None:
    line = [(step, float(step == 99_999)) for step in range(100_000)]
    assert min(y for _, y in places(picture(Chart("a", {"x": line})), BLUE)) < HEIGHT / 4


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.05, 2.4, [0, 0.5, 1, 1.5, 2, 2.5]),
        (-3.0, 3.0, [-4, -2, 0, 2, 4]),
        (7.0, 7.0, [6, 6.5, 7, 7.5, 8]),
        (0.0, 0.0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high, 5) == pytest.approx(wanted)


def test_no_chart_is_no_picture() -> None:
    with pytest.raises(ValueError, match="expected a chart or more"):
        png([])
