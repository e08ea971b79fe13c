"""Who forms, of members whose processes end with their formation: what is held against one is held against its worker.

As in Membership who is in formations that fail is left out for a while (modelyard.train.control.probation), so that a
worker that the others can never reach does not have all begin anew for ever. There is nobody to be left out where all
are needed: then it is tried again, with longer and longer pauses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from modelyard.train.control import deadlines
from modelyard.train.control.group import Group, worker_of
from modelyard.train.control.limits import Limits
from modelyard.train.control.probation import Probation


class Selection:
    """Chooses whole replicas. Times are seconds of any clock that does not go back."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is held against anybody."""
        self._limits = limits
        self._probation = Probation()
        self._veterans: set[str] = set()

    def free(self, candidates: Sequence[str], now_s: float) -> list[str]:
        """Those that would form if there were enough of them, as they came."""
        return self._whole([member for member in candidates if self.until_s(member) <= now_s])

    def chosen(self, candidates: Sequence[str], number: int, now_s: float) -> list[str]:
        """Who would form now, as they came: those that are free, or if they are too few those in fewer failures.

        Args:
            candidates: members that are there.
            number: of the formation that it would be.
            now_s: the time.
        """
        least = self._limits.min_workers
        free = self.free(candidates, now_s)
        if len(free) >= least:
            return free
        workers = _workers(candidates)
        order = self._probation.least_suspect(workers, len(workers), number, now_s)
        ranked = sorted(candidates, key=lambda member: order.index(_worker(member)))[:least]
        return self._whole([member for member in candidates if member in ranked])

    def until_s(self, member: str) -> float:
        """When a member may be in a formation again."""
        return self._probation.until_s(_worker(member))

    def held(self, members: Iterable[str], now_s: float) -> int:
        """How many of them are left out now, or others that come in their place."""
        return sum(self.until_s(member) > now_s for member in members)

    def judge(self, group: Group, now_s: float) -> float:
        """Note how a formation was that has ended now; return from when on there may be another one."""
        workers, newcomers = _workers(group.stages), _workers(group.stages) - self._veterans
        ended_s = now_s if group.ending_s is None else group.ending_s
        if deadlines.steady(group, self._limits, ended_s):
            self._probation.succeed(workers)
        elif deadlines.failed(group, self._limits, ended_s):
            self._probation.fail(workers, newcomers, group.number, now_s)
        if group.whole_s is not None:
            self._veterans = workers
        return now_s + self._probation.pause_s()

    def _whole(self, members: Sequence[str]) -> list[str]:
        most = min(len(members), self._limits.max_workers)
        return list(members[: most // self._limits.replica * self._limits.replica])


def _worker(member: str) -> str:
    return worker_of(member) or member


def _workers(members: Collection[str]) -> set[str]:
    return {_worker(member) for member in members}
