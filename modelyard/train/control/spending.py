"""What the members of a job spend, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.jobs.training_progress import TrainingReport
from modelyard.train.control.messages import ALONE_S


class Spending:
    """Counts for each member of a formation the seconds for which it is there: forming, training, or held up.

    By the clock of this process, whatever members say. Of the time between the last report of another control process
    and the first look of this one, ALONE_S counts at most: for so long members train without one. That alone is told by
    the clocks of machines.
    """

    def __init__(
        self,
        before: TrainingReport,
        elapsed: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Go on.

        Args:
            before: what was reported last, by another process perhaps.
            elapsed: seconds of any clock that does not go back.
            clock: seconds since the epoch.
        """
        self._elapsed = elapsed
        self._seen_s = elapsed()
        self._members = 0
        gap_s = min(max(clock() - before.reported_s, 0.0), ALONE_S) if before.reported_s else 0.0
        self._spent_s = before.compute_s + gap_s * len(before.progress.members)

    def spent_s(self) -> float:
        """By all together, since the job's processes were begun."""
        now_s = self._elapsed()
        self._spent_s += (now_s - self._seen_s) * self._members
        self._seen_s = now_s
        return self._spent_s

    def change(self, members: int) -> None:
        """There are so many from now on."""
        self.spent_s()
        self._members = members
