"""How often the ranks of a job died here by themselves, one after the other, while the job got no further."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from modelyard.process import describe_exit
from modelyard.train.control.messages import Failed

MOST = 5
AGAIN_STATUS = 75
"""EX_TEMPFAIL of sysexits.h: it is to be started anew, and that is not its fault."""
RESTART_STATUS = 76
"""Likewise, and at once, however often: the ranks that it shared a model with are gone, or make room for more."""
RESTART = describe_exit(RESTART_STATUS)
LONG_S = 3600.0
"""A process that has lived for so long did get on, also where nobody tells of steps."""
LONG_FOR_SCRIPT_S = 300.0
"""Likewise, of one that runs a script, which never tells of steps. Whether the script fails is counted by itself."""
NOT_STARTED = "it could not be started"
_BLAMELESS = {NOT_STARTED, RESTART, *map(describe_exit, (AGAIN_STATUS, 128 + signal.SIGTERM, -signal.SIGTERM))}


@dataclass(frozen=True)
class End:
    """How a process has ended.

    Attributes:
        status: its exit status in words, or what was done to it.
        reason: that it gave; empty: none.
        stacks: where its threads were, if that could still be written down.
        is_silent: whether it was killed because nothing was heard of it.
    """

    status: str
    reason: str = ""
    stacks: str = ""
    is_silent: bool = False

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status

    @property
    def is_blameless(self) -> bool:
        """Whether it says nothing against the code that ran. What did not even write down its stacks was stopped, or
        its machine had no time for it: code that lets no other thread run does not keep faulthandler's from that.
        """
        return self.status in _BLAMELESS or (self.is_silent and not self.stacks)


class Deaths:
    """Those of one job. A worker that dies takes this with it: its ranks did not die by themselves."""

    def __init__(self) -> None:
        self._step = 0
        self._ends: list[End] = []

    def take(self, end: End, step: int, *, long: bool = False) -> None:
        """A process has ended though nobody told it to.

        Args:
            end: how.
            step: how many steps of the job are committed, as is known here.
            long: whether it lived so long that it did get on.
        """
        if end.is_blameless:
            return
        if step > self._step or long:
            self._ends.clear()
        self._step = max(step, self._step)
        self._ends.append(end)

    def verdict(self) -> Failed | None:
        """Return why the job cannot go on; None: it is tried again."""
        if len(self._ends) < MOST:
            return None
        last = self._ends[-1]
        memory = " (out of memory?)" if "SIGKILL" in last.status else ""
        said = f"ranks died {len(self._ends)} times in a row at step {self._step}, the last one: {last}{memory}"
        return Failed(said, last.stacks)
