"""Who is there of a job, and what all that decide on its formations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from modelyard.train.control.decision import Decision, Order, Report
from modelyard.train.control.group import Group, Stage
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Formation, Hello, Leave


class Members(ABC):
    """The members of one job: a state machine without I/O. Times are seconds of any clock that does not go back."""

    def __init__(self, limits: Limits, store: str, last: Formation, now_s: float) -> None:
        """Begin with nobody.

        Args:
            limits: numbers and times.
            store: host:port of the store that formations get.
            last: the formation that is in etcd; of number 0: there was none.
            now_s: the time.
        """
        self._limits = limits
        self._store = store
        self._hellos: dict[str, Hello] = {}
        self._group = Group(last, now_s, found=True)
        self._floor = last.number
        self._came_s = now_s
        self._not_before_s = now_s
        self._orders: list[Order] = []
        self.places: int | None = None
        """For how many ranks the leading scheduler has places on workers: no others can come. None: it did not say."""
        self.over = False
        """Whether nobody forms any more: a member has finished, or the job is stopped."""

    @property
    def group(self) -> Group:
        """The formation that trains, or is to."""
        return self._group

    @property
    def connected(self) -> dict[str, Hello]:
        """What the members said that are there, in the order in which they came; steps are those heard last."""
        return self._hellos

    @property
    def waiting(self) -> list[str]:
        """Members that are there and do not belong to the formation, as they came."""
        return [member for member in self._hellos if member not in self._group.stages]

    def seen(self, now_s: float) -> tuple[str, ...]:
        """The members of the formation that are there, by rank; all of one that was found while nobody of it has come
        yet, as long as they may train without a control process.
        """
        group, members = self._group, self._group.formation.members
        there = tuple(member for member in members if member in self._hellos)
        alone = group.found and not there and now_s < group.since_s + self._limits.alone_s
        return tuple(member for member in members if member not in group.replaced) if alone else there

    def awaited_s(self, now_s: float) -> float:
        """So long members may still come that another control process has left training; 0: none may, or some did."""
        group, since_s = self._group, self._group.since_s
        return max(0.0, since_s + self._limits.adopt_s - now_s) if group.found and group.all_in(Stage.ABSENT) else 0.0

    def leads(self, member: str) -> bool:
        """Whether it is rank 0 of the formation: what it says of the training counts, also after it left the group."""
        return member in self._group.formation.members[:1]

    @abstractmethod
    def join(self, hello: Hello, now_s: float) -> None:
        """A member is connected; one of that name must have been lost before."""

    @abstractmethod
    def lose(self, member: str, now_s: float) -> None:
        """A member's connection is gone; it may train on."""

    @abstractmethod
    def take(self, member: str, report: Report, now_s: float) -> None:
        """A connected member has said something. What is about an older formation counts no more."""

    @abstractmethod
    def decide(self, now_s: float) -> Decision:
        """Return what follows. Until a proposal is answered this is not called again."""

    @abstractmethod
    def open(self, formation: Formation, now_s: float) -> tuple[Order, ...]:
        """The proposal is written: it is the formation now. Return what members are told."""

    def postpone(self, until_s: float, number: int = 0) -> None:
        """The proposal could not be written; a formation of that number may be written already."""
        self._not_before_s = until_s
        self._floor = max(self._floor, number)

    def _enter(self, hello: Hello, now_s: float) -> None:
        """Note that a member has come."""
        self._hellos[hello.member] = hello
        self._came_s = now_s
        self._floor = max(self._floor, hello.formation)

    def _order(self, member: str, message: Formation | Leave) -> None:
        self._orders.append((member, message))

    def _ordered(self) -> tuple[Order, ...]:
        """Return what members are to be told that they were not told yet."""
        orders, self._orders = tuple(self._orders), []
        return orders

    def _proposal(self, chosen: list[str]) -> Formation:
        addresses = tuple(self._hellos[member].address for member in chosen)
        return Formation(self._floor + 1, tuple(chosen), addresses, self._store)
