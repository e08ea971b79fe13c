"""A script on all ranks of one formation: it is started, watched, and ended with the formation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from modelyard.train.elastic.group import Group
from modelyard.train.elastic.member import Member
from modelyard_worker.trainer.script.process import LOOK_S, ScriptProcess
from modelyard_worker.trainer.script.sharing import QUIET_S, Sharing

SHARE_S = 3.0
"""How often what scripts have written is shared."""
SHARE_RATIO = 4.0
"""It is left for so many times as long as it took: what is large does not take up the network all the time."""


class LeavingError(Exception):
    """The member is to leave its group: the job is stopped, or somebody is to be taken in."""


class Watch:
    """What a rank waits with, in one group."""

    def __init__(self, group: Group, member: Member) -> None:
        self.group = group
        self._member = member

    def check(self) -> None:
        """See whether the group goes on.

        Raises:
            GroupLost: it was lost.
            LeavingError: the member is to leave it.
        """
        self.group.check()
        if self._member.leaving:
            raise LeavingError

    def until(self, is_so: Callable[[], bool], timeout_s: float = math.inf) -> None:
        """Wait until something is so, or the time is over.

        Raises:
            GroupLost, LeavingError: as `check`.
        """
        ends_s = time.monotonic() + timeout_s
        while True:
            self.check()
            if is_so() or time.monotonic() >= ends_s:
                return
            time.sleep(LOOK_S)


def execute(process: ScriptProcess, watch: Watch, sharing: Sharing) -> int:
    """Wait for the scripts of all ranks; whatever happens, this rank's has ended then.

    Returns:
        The status of this rank's: 0 when all have ended well; another one as soon as it is so.

    Raises:
        GroupLost, LeavingError: the script was ended.
        OSError: the disk is full.
    """
    try:
        return _watched(process, watch, sharing)
    finally:
        process.end()


def _watched(process: ScriptProcess, watch: Watch, sharing: Sharing) -> int:
    """As `execute`. In rounds: a rank takes part when its script has ended, or some seconds after the last one."""
    pause_s = SHARE_S
    while True:
        watch.until(lambda: process.has_ended, pause_s)
        if _failed(process):
            return process.end()
        totals = torch.tensor([float(process.has_ended), float(sharing.looks_changed())])
        if not _summed(totals, process, watch):
            return process.end()
        ended, changed = totals.tolist()
        if ended == watch.group.world:
            return 0
        begun_s = time.monotonic()
        if changed:
            sharing.share(QUIET_S)
        pause_s = max(SHARE_S, SHARE_RATIO * (time.monotonic() - begun_s))


def _summed(totals: torch.Tensor, process: ScriptProcess, watch: Watch) -> bool:
    """Sum over the ranks, in place; False: this rank's script has failed meanwhile."""
    summed = watch.group.all_reduce(totals, None)
    watch.until(lambda: summed.done() or _failed(process))
    watch.group.check()
    return summed.done()


def _failed(process: ScriptProcess) -> bool:
    return process.has_ended and process.end() != 0


def agreed(group: Group, numbers: Sequence[int]) -> list[int]:
    """Return numbers that one rank has, on all; the others have zeros. GroupLost: it was lost."""
    return [int(number) for number in group.sum(torch.tensor(numbers, dtype=torch.int64)).tolist()]
