"""Checkpoints of a job, saved by rank 0 into the artifact store while training goes on."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from modelyard.jobs.training import Checkpoints as Cadence
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.control.messages import Saved
from modelyard.train.events import Listener
from modelyard.train.position import Position
from modelyard.train.state import TrainingState

log = logging.getLogger(__name__)


class Keeping(Listener):
    """Saves while this process is rank 0; all ranks have the whole state.

    Attributes:
        leads: whether it is.
    """

    def __init__(self, site: Site, cadence: Cadence, saved: Callable[[Saved], None]) -> None:
        """`saved` is told, in another thread, of each checkpoint that is whole."""
        self.leads = False
        self._site = site
        self._cadence = cadence
        self._told = saved
        self._checkpoints: Checkpoints | None = None
        self._last_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether so much time has passed that one is to be saved."""
        return self.leads and time.monotonic() - self._last_s >= (self._cadence.every_s or math.inf)

    def save(self, state: TrainingState) -> None:
        """Begin a checkpoint; return when the state is copied. A full disk costs the checkpoint, not the job."""
        self._last_s = time.monotonic()
        if not self.leads:
            return
        try:
            self._saver().save(state.state_dict(), state.position)
        except OSError as error:
            log.error("checkpoint not begun", extra={"step": state.position.step, "reason": str(error)})

    def restore(self, saved: Saved, state: TrainingState) -> None:
        """Have a state become that of a checkpoint.

        Raises:
            NotFoundError, DataLossError: it is gone, or damaged.
            UnavailableError: no registry is there.
            InvalidInputError: it is of another recipe.
        """
        _, values = load(self._store(), saved.name)
        state.load_state_dict(values)
        log.info("resumed", extra={"step": saved.position.step, "checkpoint": saved.name})

    def settle(self) -> None:
        """Wait until none is being written."""
        if self._checkpoints is not None:
            self._checkpoints.settle()

    def _saver(self) -> Checkpoints:
        if self._checkpoints is None:
            store, keep_last = self._store(), self._cadence.keep_last
            self._checkpoints = Checkpoints(store, keep_last=keep_last, on_saved=self._saved)
        return self._checkpoints

    def _store(self) -> ArtifactCheckpoints:
        # What was stored is held for a day: by whom it is held for longer is none of this process's business.
        return ArtifactCheckpoints(self._site, lambda _: None)

    def _saved(self, position: Position, name: str) -> None:
        self._told(Saved(position, name))
