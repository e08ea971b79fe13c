from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.train.control.group import Stage
from modelyard.train.control.limits import Limits
from modelyard.train.control.membership import Membership
from modelyard.train.control.messages import Broken, Finished, Formation, Formed, Leave, Left
from modelyard.train.control.replicas import Replicas, members
from modelyard.train.position import Position
from tests.unit.train.control.world import NONE, hello

LIMITS = Limits(min_workers=2, max_workers=6, expected=4, replica=2)


class Job:
    """What a control process does with its members; who is told to leave does what the test says."""

    def __init__(self, limits: Limits = LIMITS, last: Formation = NONE) -> None:
        self.now_s = 0.0
        self.told: dict[str, list[Formation | Leave]] = {}
        self.formations: list[Formation] = []
        self.wake_s = 0.0
        self.replicas = Replicas(limits, "store:1", last, 0.0)

    def come(self, *names: str, formation: int = 0, whole: bool = False) -> None:
        for name in names:
            self.replicas.join(hello(name, formation=formation, whole=whole), self.now_s)
            self.settle()

    def place(self, ranks: int) -> None:
        """The leading scheduler says for how many there are places."""
        self.replicas.places = ranks
        self.settle()

    def die(self, *names: str) -> None:
        for name in names:
            self.replicas.lose(name, self.now_s)
            self.settle()

    def say(self, kind: type[Formed] | type[Broken] | type[Left], *names: str) -> None:
        number = self.replicas.group.number
        for name in names:
            said = Broken(number, -1, "") if kind is Broken else Left(number, -1) if kind is Left else Formed(number)
            self.replicas.take(name, said, self.now_s)
            self.settle()

    def settle(self) -> None:
        while True:
            decision = self.replicas.decide(self.now_s)
            self.tell(decision.orders)
            self.wake_s = decision.wake_s
            if decision.proposal is None:
                return
            self.formations.append(decision.proposal)
            self.tell(self.replicas.open(decision.proposal, self.now_s))

    def tell(self, orders: tuple[tuple[str, Formation | Leave], ...]) -> None:
        for name, order in orders:
            self.told.setdefault(name, []).append(order)

    def wait(self, seconds: float) -> None:
        """Let time pass, as a control process does that sleeps no longer than it may."""
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            assert self.wake_s > self.now_s
            self.now_s = min(ends_s, self.wake_s)
            self.settle()

    @property
    def members(self) -> tuple[str, ...]:
        return self.replicas.group.formation.members

    def leave(self, number: int, *, at_boundary: bool) -> set[str]:
        """Who was told to leave a formation."""
        return {name for name, orders in self.told.items() if Leave(number, at_boundary) in orders}


@pytest.fixture
def trained() -> Job:
    """a, b, c and d train in formation 1."""
    job = Job()
    job.come("a", "b", "c", "d")
    job.say(Formed, "a", "b", "c", "d")
    assert job.replicas.group.whole
    return job


def test_whole_replicas_form_and_who_is_left_over_waits() -> None:
    job = Job()
    job.come("a")
    job.wait(LIMITS.settle_s)
    assert not job.formations
    job.come("b", "c")
    job.wait(LIMITS.settle_s)
    assert (job.members, job.replicas.waiting) == (("a", "b"), ["c"])


def test_all_that_are_expected_form_at_once() -> None:
    job = Job()
    job.come("a", "b", "c", "d")
    assert (job.members, job.now_s) == (("a", "b", "c", "d"), 0.0)


def test_a_group_that_one_has_dropped_is_dropped_by_all_and_new_members_form(trained: Job) -> None:
    trained.say(Broken, "b")
    assert trained.leave(1, at_boundary=False) == {"a", "c", "d"}
    trained.say(Broken, "a", "c", "d")
    trained.die("a", "b", "c", "d")
    trained.come("e", "f", "g")
    trained.wait(LIMITS.return_s / 2)
    assert len(trained.formations) == 1
    trained.come("h")
    assert [one.members for one in trained.formations] == [("a", "b", "c", "d"), ("e", "f", "g", "h")]
    assert trained.formations[1].number == 2


def test_those_that_are_there_form_at_once_when_no_others_are_placed_any_more(trained: Job) -> None:
    trained.say(Broken, "a", "b", "c", "d")
    trained.die("a", "b", "c", "d")
    trained.place(4)
    trained.come("e", "f")
    assert len(trained.formations) == 1
    trained.place(3)
    assert (trained.members, trained.now_s) == (("e", "f"), 0.0)


def test_that_few_are_placed_is_no_reason_to_form_while_others_may_train_on(trained: Job) -> None:
    trained.die("a", "b", "c", "d")
    trained.come("e", "f")
    trained.place(2)
    trained.wait(LIMITS.alone_s * 0.9)
    assert len(trained.formations) == 1
    trained.wait(LIMITS.alone_s * 0.1)
    assert trained.members == ("e", "f")


def test_fewer_than_the_least_never_form_however_few_are_placed(trained: Job) -> None:
    trained.replicas._limits = replace(LIMITS, min_workers=4)
    trained.say(Broken, "a", "b", "c", "d")
    trained.die("a", "b", "c", "d")
    trained.come("e", "f")
    trained.place(2)
    assert len(trained.formations) == 1


def test_a_process_in_the_place_of_one_proves_that_the_group_of_all_has_ended() -> None:
    job = Job()
    job.come("w1/a", "w2/a", "w3/a", "w4/a")
    job.say(Formed, "w1/a", "w2/a", "w3/a", "w4/a")
    job.die("w1/a", "w2/a", "w3/a", "w4/a")
    job.come("w2/b")
    assert job.replicas.group.those(Stage.GONE) == ["w2/a"]
    job.come("w1/b", "w3/b")
    assert len(job.formations) == 1
    job.come("w4/b")
    assert (job.members, job.now_s) == (("w2/b", "w1/b", "w3/b", "w4/b"), 0.0)


def test_a_process_in_the_place_of_one_that_seems_to_train_has_all_others_drop_the_group() -> None:
    job = Job()
    job.come("w1/a", "w2/a", "w3/a", "w4/a")
    job.say(Formed, "w1/a", "w2/a", "w3/a", "w4/a")
    for number, new in enumerate("bcd", 1):  # again and again, and nobody is left out for it
        job.come(f"w2/{new}")
        others = [name for name in job.members if not name.startswith("w2/")]
        assert job.leave(number, at_boundary=False) >= set(others)
        job.say(Broken, *others)
        job.die(*job.members)
        job.come(*(f"{name.partition('/')[0]}/{new}" for name in others))
        job.say(Formed, *job.members)
        assert (len(job.formations), job.now_s) == (number + 1, 0.0)


def test_one_that_comes_back_from_another_formation_is_no_process_in_the_place_of_another() -> None:
    job = Job(last=Formation(3, ("w1/a", "w2/a"), ("", ""), ""))
    job.come("w1/a", formation=3, whole=True)
    assert not job.replicas.group.those(Stage.GONE)


def test_those_that_are_there_form_when_the_others_do_not_return(trained: Job) -> None:
    trained.say(Broken, "a", "b", "c", "d")
    trained.die("a", "b", "c", "d")
    trained.come("e", "f", "g")
    trained.wait(LIMITS.return_s)
    assert trained.members == ("e", "f")


def test_a_lost_member_may_come_back_and_is_given_up_after_a_while(trained: Job) -> None:
    trained.die("a")
    trained.wait(LIMITS.adopt_s / 2)
    trained.come("a", formation=1, whole=True)
    trained.wait(2 * LIMITS.adopt_s)
    assert not trained.leave(1, at_boundary=False)
    trained.die("b")
    trained.wait(LIMITS.adopt_s)
    assert trained.leave(1, at_boundary=False) == {"a", "c", "d"}


def test_who_was_in_a_formation_is_in_no_other(trained: Job) -> None:
    trained.die("a")
    trained.come("a", formation=1)
    assert trained.leave(1, at_boundary=False) == {"a", "b", "c", "d"}
    trained.say(Broken, "b", "c", "d")
    trained.come("x", "y", formation=1)
    trained.wait(2 * LIMITS.return_s)
    assert len(trained.formations) == 1
    assert {"x", "y"} <= trained.leave(1, at_boundary=False)


def test_another_replica_has_all_leave_at_the_end_of_a_step_and_waits_for_them(trained: Job) -> None:
    trained.come("e")
    assert not trained.leave(1, at_boundary=True)
    trained.come("f")
    assert trained.leave(1, at_boundary=True) == {"a", "b", "c", "d"}
    trained.say(Left, "a", "b", "c")
    trained.die("a", "b", "c")
    trained.come("g", "h", "i")
    assert len(trained.formations) == 1  # d writes the checkpoint
    trained.say(Left, "d")
    trained.die("d")
    assert len(trained.formations) == 1
    trained.come("j")
    assert trained.members == ("e", "f", "g", "h", "i", "j")
    assert not trained.leave(1, at_boundary=False)


def test_there_is_no_room_for_more_than_are_wanted() -> None:
    job = Job(replace(LIMITS, max_workers=4))
    job.come("a", "b", "c", "d")
    job.say(Formed, "a", "b", "c", "d")
    job.come("e", "f")
    assert not job.leave(1, at_boundary=True)


def test_who_does_not_say_that_it_has_dropped_the_group_is_not_waited_for_for_ever(trained: Job) -> None:
    trained.say(Broken, "a")
    trained.die("a")
    trained.come("e", "f", "g", "h")
    trained.wait(LIMITS.form_s - 1)
    assert len(trained.formations) == 1
    trained.wait(1)
    assert trained.members == ("e", "f", "g", "h")


def test_a_formation_that_does_not_get_whole_is_dropped() -> None:
    job = Job()
    job.come("a", "b", "c", "d")
    job.say(Formed, "a", "b", "c")
    job.wait(LIMITS.form_s)
    assert job.leave(1, at_boundary=False) == {"a", "b", "c", "d"}


def test_a_group_of_which_nothing_is_heard_may_train_on_for_a_while(trained: Job) -> None:
    trained.die("a", "b", "c", "d")
    trained.come("e", "f", "g", "h")
    trained.wait(LIMITS.alone_s - 1)
    assert len(trained.formations) == 1
    trained.wait(1)
    assert trained.members == ("e", "f", "g", "h")


def test_another_control_process_finds_a_group_that_trains_on() -> None:
    last = Formation(3, ("a", "b"), ("1", "2"), "store:0")
    job = Job(last=last)
    job.come("a", "b", formation=3, whole=True)
    job.wait(2 * LIMITS.alone_s)
    assert job.replicas.group.all_in(Stage.WHOLE)
    assert not job.told
    job.say(Broken, "a", "b")
    job.die("a", "b")
    job.come("c", "d")
    assert (job.formations[0].number, job.members) == (4, ("c", "d"))


def test_another_control_process_ends_a_group_of_which_one_does_not_come_back() -> None:
    job = Job(last=Formation(3, ("a", "b"), ("1", "2"), "store:0"))
    job.come("a", formation=3, whole=True)
    job.wait(LIMITS.adopt_s)
    assert job.leave(3, at_boundary=False) == {"a"}


def test_nobody_forms_any_more_when_one_has_finished(trained: Job) -> None:
    trained.replicas.take("a", Finished(Position(), "FINISHED"), trained.now_s)
    trained.die("b")
    trained.wait(2 * LIMITS.alone_s)
    assert trained.replicas.over
    assert not trained.leave(1, at_boundary=False)


def test_only_members_that_share_a_model_are_replicas() -> None:
    assert isinstance(members(LIMITS, "", NONE, 0.0), Replicas)
    assert isinstance(members(replace(LIMITS, replica=1), "", NONE, 0.0), Membership)
