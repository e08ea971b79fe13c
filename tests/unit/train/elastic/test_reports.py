"""What the control process is told of steps: soon, and not of each one."""

from __future__ import annotations

from collections.abc import Callable

from modelyard.train.control.messages import Committed, Envelope, Hello
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.reports import TELL_S, Reports
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.position import Position


class Recording(Member):
    """A member that keeps what it would send, and what it would call later."""

    def __init__(self) -> None:
        super().__init__(Hello("job", "a", "secret", "127.0.0.1", "agreed"), str)
        self.there = True
        self.sent: list[Envelope] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []

    @property
    def connected(self) -> bool:
        return self.there

    def send(self, envelope: Envelope) -> None:
        self.sent.append(envelope)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.planned.append((delay_s, call))

    def wake(self) -> None:
        """Do what is due."""
        planned, self.planned = self.planned, []
        for _, call in planned:
            call()

    def told(self) -> list[tuple[int, int, float]]:
        """Step, samples and loss of each message."""
        found = [envelope.committed for envelope in self.sent]
        return [(one.position.step, one.samples, one.values["loss"]) for one in found if isinstance(one, Committed)]


def reports(rank: int = 0) -> tuple[Recording, Reports]:
    member = Recording()
    made = Reports(member, Listener())
    made.begin(rank)
    return member, made


def commit(to: Reports, step: int, samples: int = 2, loss: float = 1.0) -> None:
    to.committed(StepCommitted(Position(step), samples, {"loss": loss}))


def test_the_first_step_is_told_at_once_the_next_together_and_soon() -> None:
    member, told = reports()
    commit(told, 1)
    assert member.told() == [(1, 2, 1.0)]
    commit(told, 2, 3, 1.0)
    commit(told, 3, 1, 5.0)
    assert len(member.told()) == 1
    assert [delay_s for delay_s, _ in member.planned] == [TELL_S]
    member.wake()
    assert member.told()[1:] == [(3, 4, 2.0)]
    commit(told, 4)
    assert len(member.told()) == 2
    assert len(member.planned) == 1


def test_the_rest_is_told_at_the_end_of_a_group_and_not_again() -> None:
    member, told = reports()
    for step in (1, 2):
        commit(told, step)
    told.end()
    assert [step for step, _, _ in member.told()] == [1, 2]
    told.begin(0)
    commit(told, 3)
    member.wake()
    assert [step for step, _, _ in member.told()] == [1, 2, 3]


def test_what_could_not_be_sent_is_told_with_the_next() -> None:
    member, told = reports()
    member.there = False
    commit(told, 1)
    commit(told, 2)
    member.wake()
    assert member.told() == []
    member.there = True
    commit(told, 3)
    member.wake()
    assert member.told() == [(3, 6, 1.0)]


def test_other_ranks_say_nothing() -> None:
    member, told = reports(rank=1)
    commit(told, 1)
    told.end()
    assert (member.sent, member.planned) == ([], [])
