"""A run's state, saved when the loop says so, and loaded where a run goes on."""

from __future__ import annotations

from typing import Any, Protocol

from torch.distributed import ProcessGroup

from modelyard.train.checkpoint.loading import load, newest
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
    """What has all of a run's state: a TrainingState."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Become the state."""
        ...


def resume(store: CheckpointStore, state: Resumable, group: ProcessGroup | None = None, name: str = "") -> str:
    """Have a state become that of a checkpoint; return its name, or nothing where there is none to resume from.

    Args:
        store: this rank's.
        state: of the same recipe, as new; with a group each rank's, sharded as it will be.
        group: as of `loading.load`.
        name: of the checkpoint; empty: the newest that is whole.

    Raises:
        As `loading.load` and `state.load_state_dict`.
    """
    name = name or newest(store, group)
    if name:
        _, values = load(store, name, state.state_dict(), group)
        state.load_state_dict(values)
    return name
