"""Who belongs to the formation of a training job, and when the next one is made: a state machine without I/O.

It is told what happens (`join`, `lose`, `take`); `decide` says what follows: messages to members, and who shall form.
The rules (docs/training-internals.md):
- A formation ends only by the next one, which is proposed, written behind the fence, then opened.
- At first all that are expected form, or min_workers once nobody came for a while.
- When a member of the formation is lost, or drops the group, those that are left form at once; those that wait, with
  them. Fewer than min_workers wait. A lost member that comes back before and still trains mends the formation.
- When somebody waits and there is room, all leave at the end of a step, then form.
- A formation has a member with the state of the one before it. Only if there has been none for alone_s (all ranks are
  lost), or all ranks are dead for certain, others form: they resume from a checkpoint.
- Who does not answer, or is in formations that fail, is left out for a while (modelyard.train.control.probation).
- Ranks: members of the formation before in their order, then the others as they came.
"""

from __future__ import annotations

import math
from dataclasses import replace

from modelyard.train.control import deadlines
from modelyard.train.control.decision import Decision, Order, Report
from modelyard.train.control.group import Group, Stage
from modelyard.train.control.limits import Limits
from modelyard.train.control.members import Members
from modelyard.train.control.messages import Broken, Finished, Formation, Formed, Healing, Hello, Leave, Left
from modelyard.train.control.probation import Probation


class Membership(Members):
    """The members of a job each of which has all of the model."""

    def __init__(self, limits: Limits, store: str, last: Formation, now_s: float) -> None:
        """Begin with nobody; see Members."""
        super().__init__(limits, store, last, now_s)
        self._veterans: set[str] = set(last.members)
        self._stateless = not last.number
        self._carried_s = now_s
        self._probation = Probation()

    def join(self, hello: Hello, now_s: float) -> None:
        """A member is connected; one of that name must have been lost before."""
        self._enter(hello, now_s)
        if not hello.formation:
            self._group.note_start(hello.member)
        if hello.step >= 0:
            self._stateless = False
        group, member = self._group, hello.member
        trains = hello.whole and hello.formation == group.number and group.stages.get(member) is Stage.ABSENT
        if member in group.stages:
            group.note(member, Stage.WHOLE if trains else Stage.GONE, now_s)
        if trains and group.leaving:
            self._order(member, Leave(group.number, at_boundary=True))
        elif hello.formation and not trains:  # it need not be whole to go on: perhaps it is forming
            self._order(member, Leave(hello.formation, at_boundary=False))

    def lose(self, member: str, now_s: float) -> None:
        """A member's connection is gone."""
        self._note_carriers(now_s)
        del self._hellos[member]
        if member in self._group.stages:
            if self._group.stages[member] is not Stage.GONE:
                self._carried_s = now_s  # it may have the state by now, and train on
            self._group.note(member, Stage.ABSENT, now_s)
            self._probation.lose(member, now_s)

    def take(self, member: str, report: Report, now_s: float) -> None:
        """A connected member has said something. What is about an older formation counts no more."""
        if isinstance(report, Finished):
            self.over = True
            return
        stage = self._group.stages.get(member)
        current = report.formation == self._group.number
        if isinstance(report, Broken | Left) and member in self._hellos:
            self._learn(member, report.step)
        match report:
            case Formed() if current and stage is Stage.FORMING:
                self._group.note(member, Stage.WHOLE, now_s)
                self._learn(member, max(0, self._hellos[member].step))
            case Healing() if current and stage is Stage.FORMING:
                self._group.since_s = now_s
            case Broken() if current and stage is not None:
                self._group.note(member, Stage.GONE, now_s)
            case Left() if current and stage is Stage.WHOLE:
                self._group.note(member, Stage.LEFT, now_s)

    def _learn(self, member: str, step: int) -> None:
        self._hellos[member] = replace(self._hellos[member], step=step)
        if step >= 0:
            self._stateless = False

    def decide(self, now_s: float) -> Decision:
        """Return what follows. Until a proposal is answered this is not called again."""
        self._note_carriers(now_s)
        if self._group.whole and deadlines.steady(self._group, self._limits, now_s):
            self._probation.succeed(self._group.stages)
        proposal, wake_s = None, math.inf
        if not self.over:
            self._expire(now_s)
            wanted_s = deadlines.due_s(self._group, self._limits, self._settled_s(), now_s)
            if wanted_s <= now_s:
                self._judge(now_s)
            chosen = self._chosen(now_s)
            due_s = max(wanted_s, self._not_before_s, self._allowed_s(chosen))
            if due_s <= now_s:
                proposal = self._proposal(chosen)
            else:
                self._make_room(now_s)
                wake_s = min((at for at in (due_s, *self._dates()) if at > now_s), default=math.inf)
        return Decision(self._ordered(), proposal, wake_s)

    def open(self, formation: Formation, now_s: float) -> tuple[Order, ...]:
        """The proposal is written: it is the formation now. Return what members are told."""
        before, self._group = self._group, Group(formation, now_s)
        self._floor = formation.number
        if before.whole_s is not None:
            self._veterans = set(before.stages)
        for member in formation.members:
            if member not in self._hellos:
                self._group.note(member, Stage.ABSENT, now_s)
        for member in set(before.those(Stage.FORMING, Stage.WHOLE)) & set(self.waiting):
            self._order(member, Leave(before.number, at_boundary=False))
        for member in self._group.those(Stage.FORMING):
            self._order(member, formation)
        return self._ordered()

    # When.

    def _settled_s(self) -> float:
        """When those that are there have waited long enough for others."""
        complete = len(self._hellos) >= self._limits.complete
        members = self._group.stages
        back = bool(members) and not self._group.those(Stage.ABSENT)
        return self._came_s if complete or back else self._came_s + self._limits.settle_s

    def _allowed_s(self, chosen: list[str]) -> float:
        """From when on these may form: there are enough, and the state of the last formation is not left behind."""
        if len(chosen) < self._limits.min_workers or not chosen:
            return math.inf
        everybody = set(self._group.stages) <= {*self._hellos, *self._group.replaced}
        if everybody or any(self._carries(member) for member in chosen):
            return -math.inf
        return self._carried_s + self._limits.alone_s

    def _carries(self, member: str) -> bool:
        """Whether the last formation cannot go on without it, and it has its state, if there is one already."""
        there = member in self._group.stages and member in self._hellos
        return there and (self._stateless or self._hellos[member].step >= 0)

    def _note_carriers(self, now_s: float) -> None:
        if any(self._carries(member) for member in self._probation.free(list(self._hellos), now_s)):
            self._carried_s = now_s

    def _dates(self) -> list[float]:
        """Times at which something is over."""
        return [*deadlines.dates(self._group, self._limits), *map(self._probation.until_s, self._hellos)]

    def _expire(self, now_s: float) -> None:
        """Give those up that have not answered. They are left out if others have; if nobody has, newcomers are."""
        group = self._group
        silent = set(deadlines.silent(group, self._limits, now_s))
        if not silent or group.given_up:
            return
        group.given_up = True
        blamed = silent if len(silent) < len(group.stages) else group.newcomers(self._veterans)
        if len(blamed) < len(group.stages):
            group.excused = bool(blamed)
            for member in blamed:
                self._probation.hold(member, now_s)

    def _judge(self, now_s: float) -> None:
        """Note once whether the formation that ends now has failed: who is left out follows from it."""
        group = self._group
        if group.judged or not deadlines.failed(group, self._limits, now_s):
            return
        group.judged = True
        suspects = group.those(Stage.FORMING, Stage.GONE) or list(group.stages)
        self._probation.fail(suspects, group.newcomers(self._veterans), group.number, now_s)
        self._not_before_s = now_s + self._probation.pause_s()

    def _make_room(self, now_s: float) -> None:
        """Have all leave at the end of a step if somebody waits who may be taken in."""
        group = self._group
        room = len(group.stages) < self._limits.max_workers
        if group.whole and not group.leaving and room and self._probation.free(self.waiting, now_s):
            group.leaving = True
            for member in group.stages:
                self._order(member, Leave(group.number, at_boundary=True))

    # Who.

    def _chosen(self, now_s: float) -> list[str]:
        """Who would form now, by rank."""
        limits, number = self._limits, self._floor + 1
        ranked = [member for member in self._group.stages if member in self._hellos] + self.waiting
        free = self._probation.free(ranked, now_s)[: limits.max_workers]
        if len(free) >= limits.min_workers:
            return free
        least = self._probation.least_suspect(ranked, limits.min_workers, number, now_s)
        return [member for member in ranked if member in least]
