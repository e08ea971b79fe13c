"""Whether a model is quick. Policy only: no I/O, no clock of its own."""

from __future__ import annotations

QUICK_S = 0.0003
"""What takes less may be executed in the event loop: others wait for it no longer than for a thread to wake up."""
SHORT_S = 0.001
WEIGHT = 0.2
"""Of the newest batch in the mean. None counts for more than SHORT_S there: one that was interrupted matters little."""
LONG_S = 0.1
DOUBTS = 1000
"""So many batches after one that took longer than LONG_S none is expected to be quick: what takes long now and then
keeps the event loop, and all that others have in this runner, from going on."""


class Pace:
    """How long batches have taken of late."""

    def __init__(self) -> None:
        """Take a model of which nothing is known for a slow one."""
        self._mean_s = SHORT_S
        self._last_s = SHORT_S
        self._doubts = 0

    def took(self, seconds: float) -> None:
        """Learn how long a batch took."""
        self._last_s = seconds
        self._doubts = DOUBTS if seconds > LONG_S else max(0, self._doubts - 1)
        self._mean_s += (min(seconds, SHORT_S) - self._mean_s) * WEIGHT

    @property
    def quick(self) -> bool:
        """Whether the next batch can be expected to take less than QUICK_S."""
        return self._mean_s < QUICK_S and not self._doubts

    @property
    def short(self) -> bool:
        """Whether the last batch took less than SHORT_S."""
        return self._last_s < SHORT_S
