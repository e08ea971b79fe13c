"""A curve in a line of text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"


class Curve:
    """Values over steps, thinned out so that there are never more than `most`; the last one is always exact."""

    def __init__(self, most: int = 512) -> None:
        """`most`: an even number."""
        self._most = most
        self._every = 1
        self._pending: list[float] = []
        self._means: list[float] = []
        self.last = math.nan

    def add(self, value: float) -> None:
        """Take the next value."""
        self.last = value
        self._pending.append(value)
        if len(self._pending) < self._every:
            return
        self._means.append(_mean(self._pending))
        self._pending = []
        if len(self._means) >= self._most:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [_mean(pair) for pair in pairs]
            self._every *= 2

    @property
    def values(self) -> list[float]:
        """Means over parts of equal length, and over what has come since."""
        return [*self._means, *([_mean(self._pending)] if self._pending else [])]


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw values as so many blocks: the lowest is the smallest block. What is not finite is NOT_FINITE.

    Values that there are too many of are averaged, those that there are too few of repeated.
    """
    parts = _parts(values, width)
    finite = [value for value in parts if math.isfinite(value)]
    if not finite:
        return NOT_FINITE * len(parts)
    low, high = min(finite), max(finite)
    span = high - low
    return "".join(
        _block((value - low) / span if span else 0.0) if math.isfinite(value) else NOT_FINITE for value in parts
    )


def _block(share: float) -> str:
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]


def _parts(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return [values[index * len(values) // width] for index in range(width)] if values else []
    bounds = [round(index * len(values) / width) for index in range(width + 1)]
    return [_mean(values[begin:end]) for begin, end in itertools.pairwise(bounds)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
