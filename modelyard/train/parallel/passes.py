"""The passes of a step that leave gradients: of a model that each rank calls as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from modelyard.train.computation import Computation
from modelyard.train.order import Indices
from modelyard.train.parallel.reduction import GridReduction
from modelyard.train.samples import Batch
from modelyard.train.shares import pieces, portion
from modelyard.train.tally import Tally

Read = Callable[[Indices], Batch]
"""Collates the samples with these numbers."""


class Passes(Protocol):
    """How gradients come about."""

    def run(self, indices: Indices, read: Read) -> Tally:
        """Leave the gradients of the mean loss over a global batch, summed over the ranks.

        Args:
            indices: of the global batch, INT64 [samples].
            read: reads samples of it.

        Returns:
            The sums over this rank's part; nothing where there are no outputs.
        """
        ...


class WholePasses:
    """Of a model that is one stage: all ranks call it equally often, since its parts are put together in every call."""

    def __init__(self, computation: Computation, reduction: GridReduction, accumulation: int) -> None:
        self._computation = computation
        self._reduction = reduction
        self._accumulation = accumulation

    def run(self, indices: Indices, read: Read) -> Tally:
        """See Passes."""
        tally = Tally()
        parts = pieces(*portion(len(indices), self._reduction.rank, self._reduction.world), self._accumulation)
        count = len(pieces(*portion(len(indices), 0, self._reduction.world), self._accumulation))
        for number in range(count):
            begin, end = parts[number] if number < len(parts) else (0, 0)
            with self._reduction.accumulating(self._computation, number == count - 1):
                if begin < end:
                    self._pass(read(indices[begin:end]), len(indices), tally)
                else:
                    self._idle(read(indices[:1]))
        return tally

    def _pass(self, batch: Batch, samples: int, tally: Tally) -> None:
        loss, sums = self._computation(batch)
        (loss / samples).backward()
        tally.add(batch.size, sums)

    def _idle(self, batch: Batch) -> None:
        """Take part in a pass of the others, with a sample that does not count, and that changes no buffer."""
        self._computation.eval()
        loss, _ = self._computation(batch)
        (loss * 0.0).backward()
        self._computation.train()
