"""What a rank's loop tells is passed on: to its listener, and by rank 0 to the control process."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from threading import Lock

from modelyard.train.control.messages import Committed, Envelope, Evaluated
from modelyard.train.course import EpochRecord
from modelyard.train.elastic.member import Member
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.state import TrainingState

TELL_S = 0.1
"""Steps may take less than a message should cost, for who sends and for who gets it: so they are told together, so long
after the first of them; only the first one in a group is told at once."""


class Reports(Listener):
    """Of the loop of a rank that goes from group to group.

    Attributes:
        saved: after which step this rank was last to save a checkpoint; -1: after none.
    """

    def __init__(self, member: Member, listener: Listener) -> None:
        self._member = member
        self._listener = listener
        self.saved = -1
        self._leads = False
        self._first = False
        self._planned = False
        self._untold = Lock()
        self._told_s = 0.0
        self._last: StepCommitted | None = None
        self._samples = 0
        self._sums: defaultdict[str, float] = defaultdict(float)

    def begin(self, rank: int) -> None:
        """The next steps are done in another group, as this rank."""
        self._leads = self._first = rank == 0
        self._told_s = time.monotonic()

    def end(self) -> None:
        """No more steps are done in this group: tell the rest."""
        self._tell()

    def committed(self, step: StepCommitted) -> None:
        """Count a step, and tell of it: now, or within TELL_S."""
        self._listener.committed(step)
        if not self._leads:
            return
        with self._untold:
            self._last = step
            self._samples += step.samples
            for name, value in step.values.items():
                self._sums[name] += value * step.samples
            planned, self._planned = self._planned, not self._first
        if self._first:
            self._first = False
            self._tell()
        elif not planned:
            self._member.later(TELL_S, self._tell)

    def ended(self, record: EpochRecord) -> None:
        """Pass it on, and tell of it."""
        self._listener.ended(record)
        if self._leads:
            told = Evaluated(record.step, record.epoch, _finite(record.training), _finite(record.validation))
            self._member.send(Envelope(evaluated=told))

    def save(self, state: TrainingState) -> None:
        """Pass it on."""
        self.saved = state.position.step if self._leads else self.saved
        self._listener.save(state)

    def _tell(self) -> None:
        """Tell of what was not told; in the training thread, or in the member's. Without a connection it is kept."""
        with self._untold:
            self._planned = False
            if self._last is None or not self._member.connected:
                return
            now_s = time.monotonic()
            values = _finite({name: total / self._samples for name, total in self._sums.items()})
            committed = Committed(self._last.position, values, self._samples, now_s - self._told_s)
            self._member.send(Envelope(committed=committed))
            self._last, self._samples, self._told_s = None, 0, now_s
            self._sums.clear()


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    """What JSON has numbers for; of a loss that is not finite the run ends anyway."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
