"""Whether the event loop turns: a model that is executed in it, and never comes back, would stop it for good."""

from __future__ import annotations

import asyncio
import time

LOOK_S = 1.0
STUCK_S = 30.0
"""A loop that has not turned for so long is stuck. What is loaded meanwhile may hold it up for seconds."""


class Pulse:
    """Of the running loop, from now on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turn()

    def _turn(self) -> None:
        self._turned_s = time.monotonic()
        self._loop.call_later(LOOK_S, self._turn)

    def beats(self) -> bool:
        """Whether it is not stuck. In any thread."""
        return time.monotonic() - self._turned_s < STUCK_S
