"""Rows of a task that are at fault, and why."""

from __future__ import annotations

MOST_ROWS = 250
"""No more are looked for in one pass: what comes after them is a task of its own."""
MOST_REASON = 500


class Faults:
    """What one pass over a task has found.

    Attributes:
        permanent: whether a row could not even be read or converted.
    """

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._reasons: dict[int, str] = {}
        self.permanent = False

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def note(self, position: int, row: int, why: str, *, permanent: bool = False) -> None:
        """Add a row by its position in the task and its number in the dataset, unless there are enough."""
        if self.full:
            return
        self._reasons[position] = f"row {row}: {why}"[:MOST_REASON]
        self.permanent = self.permanent or permanent

    @property
    def full(self) -> bool:
        """Whether it is no use to look for more."""
        return len(self._reasons) >= self._most

    @property
    def positions(self) -> tuple[int, ...]:
        """The rows, as the task counts them, ascending."""
        return tuple(sorted(self._reasons))

    @property
    def reason(self) -> str:
        """Of the first row."""
        return self._reasons[min(self._reasons)]
