"""How many calls may wait, and when one that was refused may try again. Policy only: no I/O, no clock of its own."""

from __future__ import annotations

from modelyard.errors import ExhaustedError

SHORTEST_S, LONGEST_S = 0.01, 30.0
WEIGHT = 0.1
"""Of the newest batch in the mean."""
TRUST = 0.5
"""A call is let in if it is expected to wait for no more than this part of what is left of its deadline: the
expectation may be wrong by as much again, and the answer has a way to go."""


class QueueBound:
    """The bound of one instance's queue."""

    def __init__(self, size: int, copies: int) -> None:
        """`size`: how many calls may wait; 0: any number."""
        self._size = size
        self._copies = copies
        self._call_s = 0.0
        self._newest_s = 0.0

    def check(self, waiting: int) -> None:
        """Return if another call may wait.

        Raises:
            ExhaustedError: as many wait as may; its retry delay is the time in which half of them will be executed.
        """
        if 0 < self._size <= waiting:
            raise ExhaustedError(
                f"the queue is full: {waiting} calls wait, at most {self._size} may",
                retry_after_s=min(max(waiting * self._call_s / self._copies / 2, SHORTEST_S), LONGEST_S),
            )

    def check_in_time(self, ahead: int, left_s: float) -> None:
        """Return if a call with so many ahead of it can be expected to be executed in time.

        Who is let in and expires in the queue has kept others out, and who is executed too late has kept the device
        from them: without this, a queue that takes longer than callers wait leaves little that is in time (receive
        livelock; Mogul and Ramakrishnan, 1997).

        Raises:
            ExhaustedError: it cannot; its retry delay is the time after which it could.
        """
        expected_s = ahead * min(self._call_s, self._newest_s) / self._copies
        if expected_s > TRUST * left_s > 0:
            raise ExhaustedError(
                f"the queue is too long: {ahead} calls wait for about {expected_s:.3g} s, {left_s:.3g} s are left",
                retry_after_s=min(max(expected_s - TRUST * left_s, SHORTEST_S), LONGEST_S),
            )

    def served(self, calls: int, busy_s: float) -> None:
        """Learn how long a copy took for a batch of calls."""
        call_s = self._newest_s = busy_s / calls
        self._call_s += (call_s - self._call_s) * (WEIGHT if self._call_s else 1.0)
