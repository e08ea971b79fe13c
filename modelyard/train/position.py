"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Position:
    """What has been counted: it follows from this which samples were, and how often.

    Attributes:
        step: how many steps were applied in all.
        epoch: the pass over the data, from 0 on.
        offset: so many entries of this epoch's order were counted.
    """

    step: int = 0
    epoch: int = 0
    offset: int = 0

    def batch(self, samples: int, batch_size: int) -> tuple[int, int]:
        """The entries [begin, end) of this epoch's order that the next step takes: fewer at its end."""
        return self.offset, min(self.offset + batch_size, samples)

    def after(self, samples: int, batch_size: int) -> Position:
        """Where the run is when that step was applied."""
        _, end = self.batch(samples, batch_size)
        if end == samples:
            return Position(self.step + 1, self.epoch + 1, 0)
        return Position(self.step + 1, self.epoch, end)
