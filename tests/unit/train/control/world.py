"""A job without I/O: members, a fence and a clock, as the membership sees them."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.train.control.limits import Limits
from modelyard.train.control.membership import Membership
from modelyard.train.control.messages import ALONE_S, Broken, Formation, Formed, Healing, Hello, Leave, Left

NONE = Formation(0, (), (), "")
LIMITS = Limits(min_workers=2, max_workers=3)


def hello(member: str, step: int = -1, formation: int = 0, *, whole: bool = False) -> Hello:
    return Hello("job", member, "secret", f"10.0.0.{member[-1]}", "agreement", step, formation, whole)


@dataclass
class Rank:
    """A trainer process: the group it holds, whether it trains in it, and since when it has had no control process."""

    name: str
    step: int = -1
    formation: int = 0
    held: bool = False
    whole: bool = False
    leaving: bool = False
    alone_s: float = 0.0

    def hello(self) -> Hello:
        return hello(self.name, self.step, self.formation, whole=self.whole)


class World:
    """Ranks that answer when they are asked to, a fence that may be away, and control processes that come and go."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.now_s = 0.0
        self.ranks: dict[str, Rank] = {}
        self.record = NONE
        self.opened: list[Formation] = []
        self.fence_answers = True
        self.wake_s = 0.0
        self.membership = Membership(limits, "store:1", NONE, 0.0)

    def restart(self) -> None:
        """Another control process takes over: it knows what is in etcd."""
        for rank in self.ranks.values():
            rank.alone_s = self.now_s
        self.membership = Membership(self.limits, "store:2", self.record, self.now_s)
        self.settle()

    def come(self, *names: str) -> None:
        """Ranks connect, at first or again."""
        for name in names:
            rank = self.ranks.setdefault(name, Rank(name))
            if name not in self.membership.connected:
                self.membership.join(rank.hello(), self.now_s)
                self.settle()

    def cut(self, name: str) -> None:
        """A rank's connection breaks; it trains on."""
        if name in self.membership.connected:
            self.ranks[name].alone_s = self.now_s
            self.membership.lose(name, self.now_s)
            self.settle()

    def die(self, name: str) -> None:
        """A rank is killed."""
        self.cut(name)
        del self.ranks[name]

    def form(self, *names: str) -> None:
        """Ranks that hold a group become whole; a step later they are one further."""
        for name in names:
            rank = self.ranks[name]
            if rank.held and not rank.whole:
                rank.whole, rank.step = True, max(rank.step, *(r.step for r in self.holders(rank.formation)), 0)
                self.say(name, Formed(rank.formation))

    def fail(self, name: str) -> None:
        """A collective fails at a rank."""
        rank = self.ranks[name]
        if rank.held:
            rank.held = rank.whole = rank.leaving = False
            self.say(name, Broken(rank.formation, rank.step, "broken"))

    def leave(self, *names: str) -> None:
        """Ranks that are told to leave at a boundary reach it."""
        for name in names:
            rank = self.ranks[name]
            if rank.held and rank.leaving:
                rank.held = rank.whole = rank.leaving = False
                rank.step += 1
                self.say(name, Left(rank.formation, rank.step))

    def say(self, name: str, report: Formed | Healing | Broken | Left) -> None:
        if name in self.membership.connected:
            self.membership.take(name, report, self.now_s)
            self.settle()

    def wait(self, seconds: float) -> None:
        """Let time go by, as far as somebody looks at it."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, max(self.wake_s, self.now_s + 1e-3))
            for rank in self.ranks.values():
                if rank.name not in self.membership.connected and self.now_s - rank.alone_s >= ALONE_S:
                    rank.held = rank.whole = rank.leaving = False
            self.settle()

    def settle(self) -> None:
        """Do what is decided."""
        decision = self.membership.decide(self.now_s)
        self.tell(decision.orders)
        self.wake_s = decision.wake_s
        if decision.proposal is None:
            return
        if not self.fence_answers:
            self.membership.postpone(self.now_s + 0.5)
            self.wake_s = self.now_s + 0.5
            return
        assert decision.proposal.number > self.record.number
        self.record = decision.proposal
        self.opened.append(self.record)
        self.tell(self.membership.open(self.record, self.now_s))
        self.settle()

    def tell(self, orders: tuple[tuple[str, Formation | Leave], ...]) -> None:
        for name, message in orders:
            if name not in self.membership.connected:
                continue
            rank = self.ranks[name]
            if isinstance(message, Formation):
                rank.formation, rank.held, rank.whole, rank.leaving = message.number, True, False, False
            elif message.formation == rank.formation and message.at_boundary:
                rank.leaving = rank.held
            elif message.formation == rank.formation:
                rank.held = rank.whole = rank.leaving = False

    def holders(self, number: int) -> list[Rank]:
        return [rank for rank in self.ranks.values() if rank.held and rank.formation == number]

    def going_on(self) -> list[int]:
        """The formations of which every member still holds the group: they train, or soon will."""
        return [f.number for f in self.opened if {r.name for r in self.holders(f.number)} == set(f.members)]

    @property
    def members(self) -> tuple[str, ...]:
        return self.membership.group.formation.members

    @property
    def number(self) -> int:
        return self.membership.group.number
