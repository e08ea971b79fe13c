"""How often a call is tried: until its deadline, as long as the answer is UNAVAILABLE."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from modelyard.backoff import Backoff
from modelyard.errors import DeadlineError, ModelyardError, UnavailableError

FIRST_DELAY_S = 0.05
MAX_DELAY_S = 1.0
JITTER = 0.2
"""So much longer, at most, than the server asks for: many who ask get the same answer."""


class Attempts:
    """The attempts of one call within its deadline."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._unavailable: UnavailableError | None = None
        self._backoff = Backoff(min(FIRST_DELAY_S, timeout_s / 2), min(MAX_DELAY_S, timeout_s / 2))
        self.extend()

    def extend(self) -> None:
        """Give the call its whole time again, but make it wait no less: it was taken up."""
        self._ends_s = self._clock() + self._timeout_s

    def restart(self) -> None:
        """Give the call its whole time again: something of it has been done for good."""
        self.extend()
        self._backoff.reset()

    def left_s(self) -> float:
        """What is left of the deadline, in seconds: that of the next attempt."""
        return max(0.0, self._ends_s - self._clock())

    def delay_s(self, error: ModelyardError) -> float:
        """Return how long to wait before the next attempt: longer each time, and no less than the server asks for.

        Raises:
            ModelyardError: there is none: `error`, or the last UnavailableError where the deadline came after it.
        """
        if isinstance(error, DeadlineError) and self._unavailable:
            raise self._unavailable
        if not isinstance(error, UnavailableError):
            raise error
        self._unavailable = error
        asked_s = (error.retry_after_s or 0.0) * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311 (jitter, not a secret)
        delay_s = max(self._backoff.next(), asked_s)
        if delay_s >= self.left_s():
            raise error
        return delay_s
