"""Checkpoints of a model that several ranks share: put together on rank 0, which saves them as any other."""

from __future__ import annotations

from modelyard.errors import InternalError
from modelyard.train.course import EpochRecord
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.parallel.state import PartialState, WholeState
from modelyard.train.state import TrainingState


class PartialSaving(Listener):
    """Passes on what it is told; of a state that is to be saved the whole, on rank 0."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def committed(self, step: StepCommitted) -> None:
        """Pass it on."""
        self._listener.committed(step)

    def ended(self, record: EpochRecord) -> None:
        """Pass it on."""
        self._listener.ended(record)

    def save(self, state: TrainingState) -> None:
        """Put the state together; all ranks are told of it after the same step."""
        if not isinstance(state, PartialState):
            raise InternalError(f"expected the part of a state, got {type(state).__name__}")
        values = state.assemble()
        self._listener.save(WholeState.of(state, values) if values else state)
