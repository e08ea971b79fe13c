"""Waiting longer after each failure, with jitter, so that many who wait do not return at once."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from `first_s` up to `max_s`, each drawn from its upper half."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next(self) -> float:
        """Return the next delay in seconds."""
        delay_s = self._next_s
        self._next_s = min(self._max_s, delay_s * 2)
        return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next_s = self._first_s
