"""A run's state, saved when the loop says so, and loaded where a run goes on."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from modelyard.train.checkpoint.loading import load, newest
from modelyard.train.checkpoint.record import Record
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.checkpoint.store import CheckpointStore
from modelyard.train.events import Listener
from modelyard.train.state import TrainingState


class Saving(Listener):
    """Begins a checkpoint of each state that is due; it is written while the loop goes on."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def save(self, state: TrainingState) -> None:
        """See Listener. Returns when the state is copied. Raises as Checkpoints.save."""
        self._checkpoints.save(state.state_dict(), state.position)


class Resumable(Protocol):
    """What has a run's state, or this rank's part of it: a TrainingState."""

    def destination(self, key: str, like: torch.Tensor) -> torch.Tensor | None:
        """See train.checkpoint.loading.Destination."""
        ...

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become the state."""
        ...


def restore(store: CheckpointStore, state: Resumable, name: str) -> Record:
    """Have a state become that of a checkpoint, and return what this says of itself.

    Args:
        store: this rank's.
        state: of the same recipe, as new; a part of one if ranks share it. If this raises it is neither.
        name: of the checkpoint.

    Raises:
        As `loading.load` and `state.load_state_dict`.
    """
    record, values = load(store, name, state.destination)
    state.load_state_dict(values)
    return record


def resume(store: CheckpointStore, state: Resumable, name: str = "") -> str:
    """Have a state become that of a checkpoint; return its name, or nothing where there is none to resume from.

    Args:
        store: this rank's.
        state: as of `restore`.
        name: of the checkpoint; empty: the newest that is whole.

    Raises:
        As `restore`.
    """
    name = name or newest(store)
    if name:
        restore(store, state, name)
    return name
