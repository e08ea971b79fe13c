"""What is told about a run while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.train.course import EpochRecord
from modelyard.train.position import Position
from modelyard.train.state import TrainingState


@dataclass(frozen=True)
class StepCommitted:
    """All ranks have applied a step.

    Attributes:
        position: after it.
        samples: that it counted.
        values: means over them, of loss and metrics.
    """

    position: Position
    samples: int
    values: dict[str, float]


class Listener:
    """Is told; does nothing by itself. Each rank has its own; all are told the same.

    What it raises ends the run on this rank.
    """

    def committed(self, step: StepCommitted) -> None:
        """A step is committed: called when the next reduction is through, which proves it."""

    def ended(self, record: EpochRecord) -> None:
        """An epoch has ended. It is told once more where a rank was lost before all had evaluated."""

    def save(self, state: TrainingState) -> None:
        """A checkpoint is due, on all ranks after the same step; the state goes on changing after the return."""


class Several(Listener):
    """Tells several listeners, in order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def committed(self, step: StepCommitted) -> None:
        """Tell them."""
        for listener in self._listeners:
            listener.committed(step)

    def ended(self, record: EpochRecord) -> None:
        """Tell them."""
        for listener in self._listeners:
            listener.ended(record)

    def save(self, state: TrainingState) -> None:
        """Tell them."""
        for listener in self._listeners:
            listener.save(state)
