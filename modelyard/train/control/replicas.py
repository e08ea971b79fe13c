"""Who belongs to the formation of a job whose model is shared by several ranks: a state machine as Membership is.

What such ranks have begun together cannot be taken back, and none of them has the whole state
(docs/training-internals.md). So:
- A member is in one formation; its process ends with that, and a new one comes in its place, as another member.
- A formation has a multiple of `limits.replica` members; who is left over waits.
- At first all that are expected form, or min_workers once nobody came for a while.
- When a member of the formation drops the group, or is lost for adopt_s, all are told to drop it. When all have, the
  next one is formed as soon as as many are there as before, or as have places on workers, or after return_s: they
  resume from a checkpoint.
- Whose worker is in formations that fail is left out for a while (modelyard.train.control.selection).
- When enough for another replica wait and there is room, all leave at the end of a step, and save.
- If nobody has said that the group is dropped (all connections broke), it may train on for alone_s; unless there is
  another process in the place of one of them, which proves that that one is dead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelyard.train.control.decision import Decision, Order, Report
from modelyard.train.control.group import Group, Stage
from modelyard.train.control.limits import Limits
from modelyard.train.control.members import Members
from modelyard.train.control.membership import Membership
from modelyard.train.control.messages import Broken, Finished, Formation, Formed, Healing, Hello, Leave, Left
from modelyard.train.control.selection import Selection

_ACTIVE = (Stage.FORMING, Stage.WHOLE)


class Replicas(Members):
    """The members of a job of which several share a model."""

    def __init__(self, limits: Limits, store: str, last: Formation, now_s: float) -> None:
        """Begin with nobody; see Members."""
        super().__init__(limits, store, last, now_s)
        self._heard_s = now_s
        self._absent_s: float | None = now_s if last.members else None
        self._dropped_s: float | None = None
        self._ended_s: float | None = None
        self._spare = 0
        self._selection = Selection(limits)

    # What happens.

    def join(self, hello: Hello, now_s: float) -> None:
        """A member is connected; one of that name must have been lost before."""
        self._enter(hello, now_s)
        group, member = self._group, hello.member
        trains = hello.whole and hello.formation == group.number and group.stages.get(member) is Stage.ABSENT
        if trains:
            group.note(member, Stage.WHOLE, now_s)
            self._absent_s = now_s if group.those(Stage.ABSENT) else None
            if group.leaving:
                self._order(member, Leave(group.number, at_boundary=True))
        elif not hello.formation:
            self._bury(hello.member, now_s)
        else:
            if member in group.stages:
                group.note(member, Stage.GONE, now_s)
            self._order(member, Leave(hello.formation, at_boundary=False))

    def _bury(self, newcomer: str, now_s: float) -> None:
        """Note who is dead for certain, as there is a process in its place: without it none of the others can go on."""
        self._group.note_start(newcomer)
        for member in self._group.replaced:
            self._group.note(member, Stage.GONE, now_s)
            self._group.excused = True  # it is known why it ends: nobody is suspect

    def lose(self, member: str, now_s: float) -> None:
        """A member's connection is gone; it may train on."""
        del self._hellos[member]
        if self._group.stages.get(member) in _ACTIVE:
            self._heard_s = now_s
            self._absent_s = now_s if self._absent_s is None else self._absent_s
            self._group.note(member, Stage.ABSENT, now_s)

    def take(self, member: str, report: Report, now_s: float) -> None:
        """A connected member has said something. What is about an older formation counts no more."""
        if isinstance(report, Finished):
            self.over = True
            return
        stage = self._group.stages.get(member)
        if report.formation != self._group.number or stage is None:
            return
        match report:
            case Formed() if stage is Stage.FORMING:
                self._group.note(member, Stage.WHOLE, now_s)
            case Healing() if stage is Stage.FORMING:
                self._group.since_s = now_s
            case Broken():
                self._group.note(member, Stage.GONE, now_s)
            case Left() if stage is Stage.WHOLE:
                self._group.note(member, Stage.LEFT, now_s)

    # What follows.

    def decide(self, now_s: float) -> Decision:
        """Return what follows. Until a proposal is answered this is not called again."""
        proposal, wake_s = None, math.inf
        if not self.over:
            self._look(now_s)
            chosen = self._selection.chosen(self._candidates(), self._floor + 1, now_s)
            due_s = max(self._due_s(len(chosen), now_s), self._not_before_s)
            if due_s <= now_s:
                proposal = self._proposal(chosen)
            else:
                self._make_room(now_s)
                wake_s = min((at for at in (due_s, *self._dates()) if at > now_s), default=math.inf)
        return Decision(self._ordered(), proposal, wake_s)

    def open(self, formation: Formation, now_s: float) -> tuple[Order, ...]:
        """The proposal is written: it is the formation now. Return what members are told."""
        self._group = Group(formation, now_s)
        self._floor = formation.number
        self._absent_s = self._dropped_s = self._ended_s = None
        for member in formation.members:
            if member not in self._hellos:
                self._group.note(member, Stage.ABSENT, now_s)
                self._absent_s = now_s
        for member in self._group.those(Stage.FORMING):
            self._order(member, formation)
        return self._ordered()

    def _look(self, now_s: float) -> None:
        """Have all drop a group that cannot go on; note when all have."""
        group = self._group
        if group.all_in(*_ACTIVE):
            candidates = self._candidates()
            self._spare = len(candidates) - self._selection.held(candidates, now_s)
        if self._dropped_s is None and group.those(*_ACTIVE) and any(at <= now_s for at in self._ends(now_s)):
            self._dropped_s = now_s
            for member in group.those(*_ACTIVE):
                self._order(member, Leave(group.number, at_boundary=False))
        if self._ended_s is None and group.stages and not self._lasts(now_s):
            self._ended_s = now_s
            self._not_before_s = max(self._not_before_s, self._selection.judge(group, now_s))

    def _ends(self, now_s: float) -> Iterator[float]:
        """From when on a group cannot go on."""
        group, limits = self._group, self._limits
        if group.those(Stage.GONE):
            yield now_s
        if self._absent_s is not None and not group.those(Stage.LEFT):
            yield self._absent_s + limits.adopt_s
        if group.those(Stage.FORMING):
            yield group.since_s + limits.form_s
        if group.ending_s is not None:
            yield group.ending_s + limits.form_s

    def _lasts(self, now_s: float) -> bool:
        """Whether somebody may have the group still."""
        group, limits = self._group, self._limits
        if group.those(*_ACTIVE):
            return self._dropped_s is None or now_s < self._dropped_s + limits.form_s
        # Without one of them none of the others can go on. Who is not heard of may be all of them.
        return group.ending_s is None and now_s < self._heard_s + limits.alone_s

    def _make_room(self, now_s: float) -> None:
        """Have all leave at the end of a step if there are enough for another replica."""
        group, free = self._group, self._selection.free(self._candidates(), now_s)
        room = len(group.stages) + self._limits.replica <= self._limits.max_workers
        if group.whole and not group.leaving and self._dropped_s is None and room and free:
            group.leaving = True
            for member in group.stages:
                self._order(member, Leave(group.number, at_boundary=True))

    # When, and who.

    def _due_s(self, chosen: int, now_s: float) -> float:
        """From when on so many may form."""
        limits = self._limits
        if not chosen or chosen < limits.min_workers:
            return math.inf
        if not self._group.stages:
            return self._came_s + (0.0 if chosen >= self._whole_replicas(limits.complete) else limits.settle_s)
        if self._ended_s is None:
            return math.inf
        held = self._selection.held(self._group.stages, now_s)
        before = min(len(self._group.stages) - held + self._spare, limits.max_workers)
        before = before if self.places is None else min(before, self.places)
        free = len(self._selection.free(self._candidates(), now_s))
        return self._ended_s + (0.0 if free >= self._whole_replicas(before) else limits.return_s)

    def _dates(self) -> list[float]:
        """Times at which something is over."""
        limits = self._limits
        dates = [*self._ends(-math.inf), self._heard_s + limits.alone_s]
        dates += map(self._selection.until_s, self._candidates())
        return dates if self._dropped_s is None else [*dates, self._dropped_s + limits.form_s]

    def _candidates(self) -> list[str]:
        """Members that were in no formation yet, as they came."""
        return [member for member in self.waiting if not self._hellos[member].formation]

    def _whole_replicas(self, members: int) -> int:
        return members // self._limits.replica * self._limits.replica


def members(limits: Limits, store: str, last: Formation, now_s: float) -> Members:
    """Return who decides on those of a job: as Membership, or Replicas where several share a model."""
    kind = Membership if limits.replica == 1 else Replicas
    return kind(limits, store, last, now_s)
