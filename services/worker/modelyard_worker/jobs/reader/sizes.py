"""How many rows a call has: so many that it costs little to send it, so few that an online call hardly waits for it."""

from __future__ import annotations

from typing import Protocol

FIRST_ROWS = 8
"""Few: a row may take a second."""
MOST_ROWS = 4096
MOST_BYTES = 4 << 20
"""Of the tensors of a call, inputs and outputs together."""
AIM_S = 0.03
"""What a call is to take, between 20 and 50 ms."""
GROWTH = 4
"""It becomes so many times larger at most, from one call to the next."""
SMOOTHING = 0.5


class CallSize(Protocol):
    """How many rows the next call has, and how many cannot be split any more."""

    @property
    def rows(self) -> int:
        """Of the next call."""
        ...

    @property
    def unit(self) -> int:
        """So many rows cannot be split any more."""
        ...


class Sizes:
    """Learns from calls how many rows the next one gets.

    Attributes:
        rows: of the next call.
    """

    def __init__(self, *, exact: int = 0, most: int = 0, row_bytes: int = 1) -> None:
        """Begin with FIRST_ROWS, or fewer if they are large.

        Args:
            exact: the rows that every call must have; 0: any number.
            most: rows of a call; 0: no bound but ours.
            row_bytes: how large the tensors of a row are at least.
        """
        self._exact = exact
        self._most = min(most or MOST_ROWS, MOST_ROWS)
        self._row_s = 0.0
        self.rows = exact or max(min(FIRST_ROWS, self._most, MOST_BYTES // row_bytes), 1)

    @property
    def unit(self) -> int:
        """So many rows cannot be split any more."""
        return self._exact or 1

    def learn(self, rows: int, seconds: float, size_bytes: int) -> None:
        """Take note of a call: how long it was executed, and how large its tensors were."""
        if self._exact:
            return
        row_s, row_bytes = seconds / rows, max(size_bytes // rows, 1)
        self._row_s = row_s if not self._row_s else self._row_s + SMOOTHING * (row_s - self._row_s)
        wanted = min(int(AIM_S / max(self._row_s, 1e-9)), MOST_BYTES // row_bytes, self._most, GROWTH * rows)
        self.rows = max(wanted, 1)


class Bounded:
    """Sizes that no call has more rows than."""

    def __init__(self, sizes: Sizes, most: int) -> None:
        self._sizes = sizes
        self._most = most

    @property
    def unit(self) -> int:
        """As Sizes.unit."""
        return self._sizes.unit

    @property
    def rows(self) -> int:
        """As Sizes.rows."""
        return max(min(self._sizes.rows, self._most), self.unit)


def bounded(sizes: Sizes, most: int) -> CallSize:
    """The sizes themselves, or with calls of so many rows at most; 0: no bound but theirs."""
    return Bounded(sizes, most) if most else sizes
