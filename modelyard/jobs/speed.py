"""How fast a job is: rows a second by the clock, which tells when it ends; seconds a row, which makes task sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace

HALF_LIFE_S = 10.0
"""What was measured so long ago counts half."""
_KEPT = 0.9


@dataclass(frozen=True)
class Throughput:
    """Rows that ended and the seconds that passed, the older the less they count. Pauses are left out.

    Attributes:
        rows: that have ended, weighted.
        seconds: in which they did, weighted.
        counted: how many had ended when it was last looked.
        at_s: when that was.
    """

    rows: float = 0.0
    seconds: float = 0.0
    counted: int = 0
    at_s: float = 0.0

    @classmethod
    def begin(cls, counted: int, now_s: float) -> Throughput:
        """Nothing is known yet."""
        return cls(counted=counted, at_s=now_s)

    def observe(self, counted: int, now_s: float) -> Throughput:
        """With what has ended until now; a clock that went back, and rows that are done again, count nothing."""
        passed_s = max(now_s - self.at_s, 0.0)
        kept = 0.5 ** (passed_s / HALF_LIFE_S)
        rows = self.rows * kept + max(counted - self.counted, 0)
        return Throughput(rows, self.seconds * kept + passed_s, counted, now_s)

    def resume(self, now_s: float) -> Throughput:
        """After a pause, whose time does not count."""
        return replace(self, at_s=now_s)

    @property
    def rows_per_s(self) -> float:
        """Of late; 0: not known."""
        return self.rows / self.seconds if self.seconds > 0.0 else 0.0

    def estimated_end_s(self, left_rows: int) -> float:
        """When so many rows will have ended, too; 0: not known."""
        return self.at_s + left_rows / self.rows_per_s if self.rows_per_s > 0.0 else 0.0


@dataclass(frozen=True)
class Cost:
    """Seconds that a task spends on a row, over the latest tasks: the last ten count two thirds.

    It includes what a task costs by itself, so that it falls as tasks grow; the sizes follow within a few tasks.
    """

    rows: float = 0.0
    seconds: float = 0.0

    def observe(self, rows: int, seconds: float) -> Cost:
        """With another task."""
        return Cost(self.rows * _KEPT + rows, self.seconds * _KEPT + seconds) if rows > 0 else self

    @property
    def seconds_per_row(self) -> float:
        """0: not known."""
        return self.seconds / self.rows if self.rows > 0.0 else 0.0
