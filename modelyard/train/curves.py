"""Learning curves as a picture: a chart for each metric, its training and validation values over the steps.

Drawn with Pillow, which readers of images need anyway; matplotlib would be the largest package of a trainer's image.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[int, float]]
"""Steps, rising, and values; those that are not finite leave a gap."""

WIDTH, HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 24, 56, 56
_SCALE = 2
"""Drawn so much larger, then made smaller: that smooths the lines."""
_MOST_POINTS = 2 * WIDTH
_WHITE, _GRID, _TEXT, _TITLE = "#ffffff", "#e3e6ea", "#5b6470", "#1f252d"
_COLOURS = ("#1f6fd6", "#e0701b", "#2c9a50", "#b8323f", "#7b52c4", "#8a6d3b")


@dataclass(frozen=True)
class Chart:
    """One chart: lines by name, with a title."""

    title: str
    lines: Mapping[str, Points]


def png(charts: Sequence[Chart]) -> bytes:
    """Return a PNG with the charts, one below the other. Of lines with very many points some are left out.

    Raises:
        ValueError: there is no chart.
    """
    if not charts:
        raise ValueError("expected a chart or more, got none")
    picture = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE * len(charts)), _WHITE)
    for number, chart in enumerate(charts):
        _Drawing(ImageDraw.Draw(picture), chart, HEIGHT * number).draw()
    content = io.BytesIO()
    picture.resize((WIDTH, HEIGHT * len(charts)), Image.Resampling.LANCZOS).save(content, "PNG", optimize=True)
    return content.getvalue()


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers, a step of 1, 2 or 5 times a power of ten apart, from `low` or below to `high` or above.

    Args:
        low: finite.
        high: finite, not below `low`.
        about: how many are wanted.
    """
    if high - low <= abs(high) * 1e-12:
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    exact = (high - low) / about
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= exact * (1 - 1e-9))
    first = math.floor(low / step * (1 + math.copysign(1e-9, low)))
    last = math.ceil(high / step * (1 - math.copysign(1e-9, high)))
    return [number * step for number in range(first, last + 1)]


class _Drawing:
    """One chart; lengths are in pixels of the finished picture."""

    def __init__(self, draw: ImageDraw.ImageDraw, chart: Chart, top: int) -> None:
        self._draw = draw
        self._chart = chart
        self._lines = {name: list(_thinned(points)) for name, points in chart.lines.items()}
        found = [point for points in self._lines.values() for point in points if math.isfinite(point[1])]
        steps, values = ([p[0] for p in found] or [0, 1]), ([p[1] for p in found] or [0.0, 1.0])
        self._first, self._last = min(steps), max(steps) if max(steps) > min(steps) else min(steps) + 1
        self._values = ticks(min(values), max(values), 5)
        self._box = (_LEFT, top + _TOP, WIDTH - _RIGHT, top + HEIGHT - _BOTTOM)

    def draw(self) -> None:
        """Draw it."""
        left, top, right, bottom = self._box
        self._text((left, top - 36), self._chart.title, 18, "lm", _TITLE)
        self._axes()
        self._text(((left + right) / 2, bottom + 40), "step", 13, "mm")
        self._curves()
        self._legend()

    def _axes(self) -> None:
        left, _, right, bottom = self._box
        for value in self._values:
            y = self._y(value)
            self._line([(left, y), (right, y)], _GRID, 1)
            self._text((left - 10, y), _short(value), 13, "rm")
        for step in ticks(self._first, self._last, 8):
            if not (step == int(step) and self._first <= step <= self._last):
                continue
            x = self._x(step)
            self._line([(x, bottom), (x, bottom + 5)], _TEXT, 1)
            self._text((x, bottom + 16), _short(step), 13, "mm")
        self._line([(left, bottom), (right, bottom)], _TEXT, 1)

    def _curves(self) -> None:
        for colour, points in zip(_colours(), self._lines.values(), strict=False):
            for run in _runs(points):
                places = [(self._x(step), self._y(value)) for step, value in run]
                self._line(places, colour, 2)
                if len(places) <= 50:
                    self._dots(places, colour)

    def _legend(self) -> None:
        """Right above the chart, the names from right to left."""
        x = float(self._box[2])
        for name, colour in reversed(list(zip(self._lines, _colours(), strict=False))):
            x -= self._draw.textlength(name, _font(14)) / _SCALE
            self._text((x, self._box[1] - 36), name, 14, "lm")
            self._line([(x - 28, self._box[1] - 36), (x - 8, self._box[1] - 36)], colour, 3)
            x -= 28 + 24

    def _x(self, step: float) -> float:
        left, _, right, _ = self._box
        return left + (right - left) * (step - self._first) / (self._last - self._first)

    def _y(self, value: float) -> float:
        _, top, _, bottom = self._box
        low, high = self._values[0], self._values[-1]
        return bottom - (bottom - top) * (value - low) / (high - low)

    def _line(self, places: list[tuple[float, float]], colour: str, width: int) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in places]
        self._draw.line(scaled, colour, width * _SCALE, joint="curve")

    def _dots(self, places: list[tuple[float, float]], colour: str) -> None:
        for x, y in places:
            self._draw.circle((x * _SCALE, y * _SCALE), 3 * _SCALE, colour)

    def _text(self, place: tuple[float, float], text: str, size: int, anchor: str, colour: str = _TEXT) -> None:
        self._draw.text((place[0] * _SCALE, place[1] * _SCALE), text, colour, _font(size), anchor)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)


def _colours() -> Iterator[str]:
    while True:
        yield from _COLOURS


def _thinned(points: Points) -> Points:
    """Every so many-th point, and the last: more than there are pixels show nothing."""
    every = math.ceil(len(points) / _MOST_POINTS) or 1
    return [*points[:-1][::every], *points[-1:]]


def _runs(points: Points) -> Iterator[list[tuple[int, float]]]:
    """The points between values that are not finite."""
    run: list[tuple[int, float]] = []
    for point in points:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _short(number: float) -> str:
    """With at most four digits; thousands as k, millions as M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= limit:
            return f"{number / (1e3 if unit == 'k' else limit):.4g}{unit}"
    return f"{number:.4g}"
