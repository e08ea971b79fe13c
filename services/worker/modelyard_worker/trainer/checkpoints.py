"""Checkpoints of a job, saved by rank 0 into the artifact store while training goes on.

What is stored is held for a day; the leading scheduler holds those that count, which it reads from etcd, for as long as
they do, and lets go older ones. A store that is full or away costs the checkpoint, never the job.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from modelyard.errors import DataLossError, ModelyardError, NotFoundError, UnavailableError
from modelyard.jobs.training import Checkpoints as Cadence
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.events import Listener
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard.train.state import TrainingState

log = logging.getLogger(__name__)
MOST_REASON = 500


class Keeping(Listener):
    """Saves while this process is rank 0; all ranks have the whole state.

    Attributes:
        leads: whether it is.
    """

    def __init__(self, site: Site, cadence: Cadence, told: Callable[[Saved | Unsaved], None]) -> None:
        """`told` hears, in any thread, of each checkpoint that is whole, and of those that could not be saved."""
        self.leads = False
        self._site = site
        self._cadence = cadence
        self._told = told
        self._checkpoints: Checkpoints | None = None
        self._last: Saved | None = None
        self._damaged: set[str] = set()
        self._lock = Lock()
        self._postponed: TrainingState | None = None
        self._last_s = time.monotonic()

    def enter(self, rank: int, checkpoint: Saved | None) -> None:
        """From now on this is that rank; the control process knows of that checkpoint as the last."""
        self.leads = rank == 0
        with self._lock:
            known = self._last.position.step if self._last else -1
            if checkpoint and checkpoint.position.step >= known and checkpoint.name not in self._damaged:
                self._last = checkpoint

    @property
    def due(self) -> bool:
        """Whether one is to be saved now: enough time has passed, or the writer is free that was busy."""
        if not self.leads:
            return False
        if self._postponed is not None:
            return not self._is_busy
        return time.monotonic() - self._last_s >= (self._cadence.every_s or math.inf)

    @property
    def _is_busy(self) -> bool:
        return self._checkpoints is not None and self._checkpoints.busy

    def save(self, state: TrainingState) -> None:
        """Begin a checkpoint; return when the state is copied.

        While the one before is being written, which a store that is slow or away makes long, training is not held up:
        it is done as soon as that has ended.
        """
        self._last_s = time.monotonic()
        if not self.leads:
            return
        if self._is_busy:
            log.info("checkpoint postponed: one is being written", extra={"step": state.position.step})
            self._postponed = state
            return
        self._begin(state)

    def _begin(self, state: TrainingState) -> None:
        self._postponed = None
        try:
            self._saver().save(state.state_dict(), state.position)
        except OSError as error:
            log.error("checkpoint not begun", extra={"step": state.position.step, "reason": str(error)})
            self._failed(state.position, error)

    def restore(self, saved: Saved, state: TrainingState) -> None:
        """Have a state become that of a checkpoint; where it is damaged or gone, of the newest before it that is not.

        Raises:
            DataLossError: none is whole.
            GroupLost: no registry is there; later it may be.
            InvalidInputError: it is of another recipe.
        """
        found, values = self._newest_whole(saved)
        state.load_state_dict(values)
        log.info("resumed", extra={"step": found.position.step, "checkpoint": found.name})
        if found.instead:
            with self._lock:
                self._last = found
            self._told(found)

    def _newest_whole(self, saved: Saved) -> tuple[Saved, dict[str, Any]]:
        names, reasons = (saved.name, *saved.before), list[str]()
        for name in names:
            try:
                record, values = load(self._store(), name)
            except UnavailableError as error:
                raise GroupLost(f"the checkpoint cannot be read yet: {error.message}") from error
            except (DataLossError, NotFoundError) as error:
                log.error("checkpoint damaged", extra={"checkpoint": name, "reason": error.message})
                self._damaged.add(name)
                reasons.append(error.message)
            else:
                before = names[len(reasons) + 1 :]
                return Saved(record.position, name, before, saved.name if reasons else ""), values
        raise DataLossError(
            f"expected to go on from step {saved.position.step}, but none of {len(names)} checkpoints is whole: "
            f"{reasons[0]:.{MOST_REASON}}"
        )

    def settle(self) -> None:
        """Wait until none is being written, and none is left to be."""
        if self._checkpoints is not None:
            self._checkpoints.settle()
        if self.leads and self._postponed is not None:
            self._begin(self._postponed)
            self._saver().settle()

    def complete(self, state: TrainingState) -> bool:
        """Wait until a state that nothing more is done to has its checkpoint; return whether it has one."""
        self.settle()
        if self.leads and not self._has(state.position):
            self.save(state)
            self.settle()
        return self._has(state.position)

    def _has(self, position: Position) -> bool:
        with self._lock:
            return self._last is not None and self._last.position == position

    def _saver(self) -> Checkpoints:
        if self._checkpoints is None:
            keep_last = self._cadence.keep_last
            self._checkpoints = Checkpoints(
                self._store(), keep_last=keep_last, on_saved=self._saved, on_failed=self._failed
            )
        return self._checkpoints

    def _store(self) -> ArtifactCheckpoints:
        return ArtifactCheckpoints(self._site, lambda _: None)

    def _saved(self, position: Position, name: str) -> None:
        with self._lock:
            last = self._last
            before = (last.name, *last.before) if last else ()
            kept = tuple(other for other in before if other != name)[: self._cadence.keep_last - 1]
            self._last = saved = Saved(position, name, kept)
        self._told(saved)

    def _failed(self, position: Position, error: Exception) -> None:
        reason = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        self._told(Unsaved(position.step, " ".join(reason.split())[:MOST_REASON]))
