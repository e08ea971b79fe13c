"""A script on all ranks of one formation: it is started, watched, and ended with the formation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from modelyard.train.elastic.group import Group
from modelyard.train.elastic.member import Member
from modelyard_worker.trainer.script.keeping import ScriptKeeping
from modelyard_worker.trainer.script.process import LOOK_S, ScriptProcess
from modelyard_worker.trainer.script.sharing import QUIET_S, Sharing

SHARE_S = 3.0
"""How often what scripts have written is shared."""
SHARE_RATIO = 4.0
"""It is left for so many times as long as it took: what is large does not take up the network all the time."""


class LeavingError(Exception):
    """The member is to leave its group: the job is stopped, or somebody is to be taken in."""


class SavingError(LeavingError):
    """All leave after the same round, as the job is to stop with a checkpoint: they can share what is left."""


class HangingError(Exception):
    """Scripts hang.

    Attributes:
        stack: where this rank's was; empty: it could not say so.
    """

    def __init__(self, stack: str) -> None:
        super().__init__("the scripts hang")
        self.stack = stack


class Watch:
    """What a rank waits with, in one group."""

    def __init__(self, group: Group, member: Member) -> None:
        self.group = group
        self._member = member

    @property
    def saves(self) -> bool:
        """Whether the job is to stop with a checkpoint."""
        return self._member.saving

    def check(self, *, in_round: bool = False) -> None:
        """See whether the group goes on.

        Args:
            in_round: whether all ranks soon tell each other if they are to save.

        Raises:
            GroupLost: it was lost.
            LeavingError: the member is to leave it.
        """
        self.group.check()
        if self._member.leaving and not (in_round and self.saves):
            raise LeavingError

    def until(self, is_so: Callable[[], bool], timeout_s: float = math.inf, *, in_round: bool = False) -> None:
        """Wait until something is so, or the time is over.

        Raises:
            GroupLost, LeavingError: as `check`.
        """
        ends_s = time.monotonic() + timeout_s
        while True:
            self.check(in_round=in_round)
            if is_so() or time.monotonic() >= ends_s:
                return
            time.sleep(LOOK_S)


@dataclass(frozen=True)
class Course:
    """What is done while scripts run.

    Attributes:
        keeping: saves checkpoints, on rank 0.
        hangs: whether this rank's script seems to; it is asked often.
    """

    keeping: ScriptKeeping
    hangs: Callable[[], bool] = lambda: False


def execute(process: ScriptProcess, watch: Watch, sharing: Sharing, course: Course) -> int:
    """Wait for the scripts of all ranks; whatever happens, this rank's has ended then.

    Returns:
        The status of this rank's: 0 when all have ended well; another one as soon as it is so.

    Raises:
        GroupLost, LeavingError, SavingError: the script was ended.
        HangingError: those of all ranks hang that have not ended.
        OSError: the disk is full.
    """
    try:
        return _watched(process, watch, sharing, course)
    finally:
        process.end()


def _watched(process: ScriptProcess, watch: Watch, sharing: Sharing, course: Course) -> int:
    """As `execute`. In rounds: a rank takes part when its script has ended, or some seconds after the last one."""
    pause_s = SHARE_S
    while True:
        watch.until(lambda: watch.saves or _rests(process, course), pause_s, in_round=True)
        if _failed(process):
            return process.end()
        saved = 0 if watch.group.rank else course.keeping.step
        rests = _rests(process, course)
        totals = torch.tensor([process.has_ended, rests, sharing.looks_changed(), saved, watch.saves])
        if not _summed(totals, process, watch):
            return process.end()
        ended, rest, changed, saved, saves = totals.tolist()
        course.keeping.hear(saved)
        if ended == watch.group.world:
            return 0
        if saves:
            raise SavingError
        if rest == watch.group.world:
            raise HangingError(process.abort())
        begun_s = time.monotonic()
        if changed:
            sharing.share(QUIET_S)
        if watch.group.rank == 0 and course.keeping.is_due:
            course.keeping.save(QUIET_S)
        pause_s = max(SHARE_S, SHARE_RATIO * (time.monotonic() - begun_s))


def _rests(process: ScriptProcess, course: Course) -> bool:
    """Whether nothing more comes of it: it has ended, or hangs."""
    return process.has_ended or course.hangs()


def _summed(totals: torch.Tensor, process: ScriptProcess, watch: Watch) -> bool:
    """Sum over the ranks, in place; False: this rank's script has failed meanwhile."""
    summed = watch.group.all_reduce(totals, None)
    watch.until(lambda: summed.done() or _failed(process), in_round=True)
    watch.group.check()
    return summed.done()


def _failed(process: ScriptProcess) -> bool:
    return process.has_ended and process.end() != 0


def agreed(group: Group, numbers: Sequence[int]) -> list[int]:
    """Return numbers that one rank has, on all; the others have zeros. GroupLost: it was lost."""
    return [int(number) for number in group.sum(torch.tensor(numbers, dtype=torch.int64)).tolist()]
