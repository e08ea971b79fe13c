"""What the control process has told a member, as the training thread asks for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition

from modelyard.errors import PreconditionError, UnavailableError
from modelyard.train.control.messages import Envelope, Formation, Leave, Stop
from modelyard.train.elastic.group import Group

LOOK_S = 0.5


class StoppedError(Exception):
    """The job ends.

    Attributes:
        reason: that the control process has given.
        save: whether a checkpoint was asked for.
        keeps: whether this member was to save its state when this was raised; see also Orders.keeps.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__(f"the job was stopped: {stop.reason}")
        self.reason = stop.reason
        self.save = stop.save
        self.keeps = stop.save and stop.keeps


class RefusedError(PreconditionError):
    """The control process will not have this member."""


class RestartError(UnavailableError):
    """What this process was part of is no more, through no fault of its own: another one is to take its place."""


class Orders:
    """Messages of the control process: `take` is called by the member's thread, the rest by the training thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._next: Formation | None = None
        self._last = 0
        self._leaving = 0
        self._over = 0
        self._group: Group | None = None
        self._stop: Stop | None = None
        self._refusal: str | None = None

    def take(self, message: Envelope) -> None:
        """Note a message; a group that it ends is lost when this returns."""
        with self._changed:
            if message.formation is not None:
                self._take_formation(message.formation)
            elif message.leave is not None:
                self._take_leave(message.leave)
            elif message.stop is not None:
                self._take_stop(message.stop)
            elif message.refused is not None:
                self._refusal = message.refused.reason
                self._lose(f"refused: {self._refusal}")
            self._changed.notify_all()

    def _take_formation(self, formation: Formation) -> None:
        if formation.number > self._last:
            self._last, self._next = formation.number, formation
            self._lose(f"formation {formation.number} takes its place")

    def _take_leave(self, leave: Leave) -> None:
        if leave.at_boundary:
            self._leaving = leave.formation
            return
        self._over = max(self._over, leave.formation)
        if self._next is not None and self._next.number <= self._over:
            self._next = None
        if self._group is not None and self._group.number <= self._over:
            self._lose("told to leave")

    def _take_stop(self, stop: Stop) -> None:
        self._stop = stop
        if not stop.save:
            self._lose(f"stopped: {stop.reason}")

    def _lose(self, reason: str) -> None:
        if self._group is not None:
            self._group.lose(reason)

    def next_formation(self) -> Formation:
        """Wait for a formation that was not returned yet.

        Raises:
            StoppedError: the job ends.
            RefusedError: the control process will not have this member.
        """
        with self._changed:
            self._group = None
            self._changed.wait_for(lambda: self._next or self._stop or self._refusal is not None)
            self.check()
            found, self._next = self._next, None
            assert found is not None  # noqa: S101 (what was waited for)
            return found

    def check(self) -> None:
        """See whether this member is to go on.

        Raises:
            StoppedError: the job ends.
            RefusedError: the control process will not have this member.
        """
        if self._refusal is not None:
            raise RefusedError(f"the job refused this worker: {self._refusal}")
        if self._stop is not None:
            raise StoppedError(self._stop)

    def keeps(self, alone: Callable[[], bool]) -> bool:
        """Wait until it is known whether this member is to save its state, of a job that is stopped.

        Args:
            alone: whether nobody will say so any more; asked again and again.

        Returns:
            False: another one has saved it, or nobody will say so.
        """
        with self._changed:
            while (stop := self._stop) and stop.save and not stop.keeps and not alone():
                self._changed.wait(LOOK_S)
            return stop is not None and stop.save and stop.keeps

    def attend(self, group: Group) -> None:
        """Lose a group as soon as it is to be dropped, which it may be already."""
        with self._changed:
            self._group = group
            if group.number < self._last or group.number <= self._over or self._refusal is not None:
                self._lose("its formation is over")
            elif self._stop is not None and not self._stop.save:
                self._lose(f"stopped: {self._stop.reason}")

    def give_up(self, reason: str) -> None:
        """Lose the group that is attended to."""
        with self._changed:
            self._lose(reason)

    @property
    def leaving(self) -> bool:
        """Whether the group that is attended to is to be left at the end of a step."""
        group = self._group
        return self._stop is not None or (group is not None and self._leaving == group.number)

    @property
    def saving(self) -> bool:
        """Whether a checkpoint is wanted at the end of a step."""
        return self._stop is not None and self._stop.save
