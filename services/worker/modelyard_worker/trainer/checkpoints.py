"""Checkpoints of a job, saved into the artifact store while training goes on: by rank 0, or by all that share a state.

What is stored is held for a day; the leading scheduler holds those that count, which it reads from etcd, for as long as
they do, and lets go older ones. A store that is full or away costs the checkpoint, never the job.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial
from threading import Lock

from modelyard.errors import DataLossError, ModelyardError, NotFoundError, UnavailableError
from modelyard.jobs.training import Checkpoints as Cadence
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.resumption import restore
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.events import Listener
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard.train.state import TrainingState

log = logging.getLogger(__name__)
MOST_REASON = 500


class Keeping(Listener):
    """Saves while this process is rank 0, as all ranks have the whole state; or, where they share it, with the others.

    Attributes:
        leads: whether it is.
    """

    def __init__(self, site: Site, cadence: Cadence, told: Callable[[Saved | Unsaved], None]) -> None:
        """`told` hears, in any thread, of each checkpoint that is whole, and of those that could not be saved."""
        self.leads = False
        self._site = site
        self._cadence = cadence
        self._told = told
        self._ranks = Ranks()
        self._completed = False
        self._failure: Exception | None = None
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

    def share(self, ranks: Ranks) -> None:
        """Before anything is read or saved: each of these ranks has a part of the state. See Host.share."""
        self._ranks = ranks

    @property
    def _saves(self) -> bool:
        return self.leads or self._ranks.world > 1

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
        if not self._saves:
            return
        if self._ranks.agreed(self._is_busy):  # where rank 0 is not, the others soon are not either
            log.info("checkpoint postponed: one is being written", extra={"step": state.position.step})
            self._postponed = state
            return
        self._begin(state)

    def _begin(self, state: TrainingState) -> None:
        self._postponed = None
        self._saver().save(state.state_dict(), state.position)

    def restore(self, saved: Saved, state: TrainingState) -> None:
        """Have a state become that of a checkpoint; where it is damaged or gone, of the newest before it that is not.

        Of ranks that share a state each reads its part; what one of them cannot read none goes on from.

        Raises:
            DataLossError: none is whole.
            GroupLost: no registry is there; later it may be.
            InvalidInputError: it is of another recipe.
        """
        found = self._newest_whole(saved, state)
        log.info("resumed", extra={"step": found.position.step, "checkpoint": found.name})
        if found.instead:
            with self._lock:
                self._last = found
            self._told(found)

    def _newest_whole(self, saved: Saved, state: TrainingState) -> Saved:
        names, reasons = (saved.name, *saved.before), list[str]()
        for name in names:
            try:
                position, *_ = self._ranks.gathered(partial(self._read, name, state))
            except UnavailableError as error:
                raise GroupLost(f"the checkpoint cannot be read yet: {error.message}") from error
            except (DataLossError, NotFoundError) as error:
                log.error("checkpoint damaged", extra={"checkpoint": name, "reason": error.message})
                self._damaged.add(name)
                reasons.append(error.message)
            else:
                before = names[len(reasons) + 1 :]
                return Saved(position, name, before, saved.name if reasons else "")
        raise DataLossError(
            f"expected to go on from step {saved.position.step}, but none of {len(names)} checkpoints is whole: "
            f"{reasons[0]:.{MOST_REASON}}"
        )

    def _read(self, name: str, state: TrainingState) -> Position:
        return restore(self._store(), state, name).position

    def settle(self) -> None:
        """Wait until none is being written, and none is left to be; or until a shared one cannot count any more."""
        if self._checkpoints is not None:
            self._checkpoints.settle()
        if self._saves and self._postponed is not None and not self._ranks.lost:
            self._begin(self._postponed)
            self._saver().settle()

    def complete(self, state: TrainingState) -> bool:
        """Wait until a state that nothing more is done to has its checkpoint; return whether it has one, on rank 0.

        A shared one is saved while all have their parts: what is put together of it afterwards is not all of it.

        Raises:
            UnavailableError: of one that is shared, on all ranks: the store is away. All may call this again.
        """
        if not self._completed:
            self.settle()
            if not self._ranks.agreed(self._has(state.position)):
                self.save(state)
                self.settle()
            if self._ranks.world > 1:
                self._check_tried(state.position)
                self._completed = True
        return self._has(state.position)

    def _check_tried(self, position: Position) -> None:
        away = not self._has(position) and isinstance(self._failure, UnavailableError)
        if self._ranks.agreed(away):
            raise UnavailableError(str(self._failure))

    def _has(self, position: Position) -> bool:
        with self._lock:
            return self._last is not None and self._last.position == position

    def _saver(self) -> Checkpoints:
        if self._checkpoints is None:
            keep_last = self._cadence.keep_last
            self._checkpoints = Checkpoints(
                self._store(), ranks=self._ranks, keep_last=keep_last, on_saved=self._saved, on_failed=self._failed
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
        self._failure = error
        if self._ranks.rank:
            return  # rank 0 tells of it
        reason = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        self._told(Unsaved(position.step, " ".join(reason.split())[:MOST_REASON]))
