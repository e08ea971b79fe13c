"""The formation that trains, or is to: what each of its members was last heard to do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from modelyard.train.control.messages import Formation


class Stage(Enum):
    """How far a member of a formation is."""

    ABSENT = "not connected; perhaps it trains on"
    FORMING = "told to form"
    WHOLE = "trains"
    LEFT = "left at a boundary"
    GONE = "has dropped the group"


class Group:
    """A formation and the stages of its members.

    Attributes:
        formation: it.
        found: whether it was another control process that formed it; False as soon as all have said that they train.
        since_s: when it was formed, or found; or when the state that it needs was last heard to come further.
        whole_s: when all were whole at first.
        ending_s: when the first member left or dropped it.
        leaving: whether all were told to leave at a boundary.
        given_up: whether a new one is to take its place though nobody has left it.
        excused: whether it ends for a reason that says nothing against its members, or not against those that stay.
        judged: whether it was noted that it has failed.
        replaced: members that are dead for certain: their workers have started other processes in their place.
    """

    def __init__(self, formation: Formation, now_s: float, *, found: bool = False) -> None:
        self.formation = formation
        self.found = found
        self.since_s = now_s
        self.whole_s: float | None = None
        self.ending_s: float | None = None
        self.leaving = False
        self.given_up = False
        self.excused = False
        self.judged = False
        self.replaced: set[str] = set()
        begin = Stage.ABSENT if found else Stage.FORMING
        self.stages = dict.fromkeys(formation.members, begin)

    @property
    def number(self) -> int:
        """Of the formation; 0: there was none."""
        return self.formation.number

    def those(self, *stages: Stage) -> list[str]:
        """The members in one of these stages, by rank."""
        return [member for member, stage in self.stages.items() if stage in stages]

    def all_in(self, *stages: Stage) -> bool:
        """Whether there are members, and all of them are in one of these stages."""
        return bool(self.stages) and not (set(self.stages.values()) - set(stages))

    @property
    def whole(self) -> bool:
        """Whether all train."""
        return self.all_in(Stage.WHOLE)

    def note(self, member: str, stage: Stage, now_s: float) -> None:
        """Take in what was heard of a member."""
        self.stages[member] = stage
        if stage in {Stage.LEFT, Stage.GONE}:
            self.ending_s = now_s if self.ending_s is None else self.ending_s
        if self.whole:
            self.found = False
            self.whole_s = now_s if self.whole_s is None else self.whole_s

    def note_start(self, member: str) -> None:
        """A process was started: a worker has one a job at a time, so what it had before has ended."""
        worker = worker_of(member)
        self.replaced |= {other for other in self.stages if worker and worker_of(other) == worker and other != member}

    def newcomers(self, before: Iterable[str]) -> set[str]:
        """Its members that are not among those of the formation before."""
        return set(self.stages) - set(before)


def worker_of(member: str) -> str:
    """The worker that has started a member, as its name tells: worker, "/", what tells processes apart; or nothing."""
    return member.rpartition("/")[0]
