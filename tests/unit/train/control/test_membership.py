from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Finished, Healing, Leave
from modelyard.train.position import Position
from tests.unit.train.control.world import LIMITS, World, hello

NAMES = [f"r{number}" for number in range(5)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def trained() -> World:
    """r0, r1 and r2 train in formation 1, and have for a while."""
    world = World()
    world.come("r0", "r1", "r2")
    world.form("r0", "r1", "r2")
    world.wait(100)
    assert world.membership.group.whole
    return world


def test_all_that_are_expected_form_at_once_in_the_order_in_which_they_came(world: World) -> None:
    world.come("r2", "r0")
    assert world.number == 0
    world.come("r1")
    assert (world.number, world.members) == (1, ("r2", "r0", "r1"))
    assert world.membership.group.formation.addresses == ("10.0.0.2", "10.0.0.0", "10.0.0.1")
    assert world.membership.group.formation.store == "store:1"


def test_fewer_than_expected_form_when_nobody_has_come_for_a_while(world: World) -> None:
    world.come("r0")
    world.wait(60)
    assert world.number == 0
    world.come("r1")
    world.wait(LIMITS.settle_s / 2)
    assert world.number == 0
    world.wait(LIMITS.settle_s)
    assert world.members == ("r0", "r1")


def test_those_that_were_placed_are_not_kept_waiting_for_more() -> None:
    world = World(replace(LIMITS, expected=2))
    world.come("r0", "r1")
    assert world.members == ("r0", "r1")


def test_survivors_form_at_once_and_keep_their_order(trained: World) -> None:
    trained.die("r0")
    assert (trained.number, trained.members) == (2, ("r1", "r2"))


def test_below_the_minimum_they_wait_for_one_more_which_comes_last(trained: World) -> None:
    trained.die("r0")
    trained.form("r1", "r2")
    trained.die("r2")
    trained.wait(1000)
    assert trained.number == 2
    trained.come("r3")
    assert trained.members == ("r1", "r3")


def test_one_that_is_cut_off_and_comes_back_training_mends_a_formation_that_waits(trained: World) -> None:
    trained.die("r0")
    trained.form("r1", "r2")
    trained.cut("r2")
    trained.wait(5)
    trained.come("r2")
    assert (trained.number, trained.membership.group.whole) == (2, True)


def test_without_the_fence_one_that_comes_back_leaves_the_formation_as_it_was(trained: World) -> None:
    trained.fence_answers = False
    trained.cut("r1")
    trained.wait(5)
    assert trained.going_on() == [1]
    trained.come("r1")
    trained.fence_answers = True
    trained.wait(5)
    assert (trained.number, trained.membership.group.whole) == (1, True)


def test_a_newcomer_is_taken_in_at_the_end_of_a_step(trained: World) -> None:
    trained.die("r1")
    trained.form("r0", "r2")
    trained.come("r3")
    trained.wait(10)
    assert (trained.number, [trained.ranks[name].leaving for name in ("r0", "r2")]) == (2, [True, True])
    trained.leave("r0")
    trained.wait(10)
    assert trained.number == 2
    trained.leave("r2")
    assert (trained.number, trained.members) == (3, ("r0", "r2", "r3"))


def test_one_that_does_not_leave_at_the_boundary_is_left_out(trained: World) -> None:
    trained.die("r1")
    trained.form("r0", "r2")
    trained.come("r3")
    trained.leave("r0")
    trained.wait(LIMITS.form_s + 1)
    assert trained.members == ("r0", "r3")


def test_where_there_is_no_room_newcomers_wait(trained: World) -> None:
    trained.come("r3")
    trained.wait(100)
    assert trained.number == 1
    trained.die("r1")
    assert trained.members == ("r0", "r2", "r3")


def test_a_broken_group_forms_anew_when_its_members_have_dropped_it(trained: World) -> None:
    trained.fail("r0")
    trained.fail("r1")
    assert trained.number == 1
    trained.fail("r2")
    assert (trained.number, trained.members) == (2, ("r0", "r1", "r2"))


def test_those_that_do_not_notice_that_the_group_is_broken_are_not_waited_for(trained: World) -> None:
    trained.fail("r0")
    assert trained.number == 1
    trained.wait(LIMITS.blame_s)
    assert (trained.number, trained.members) == (2, ("r0", "r1", "r2"))


def test_who_is_lost_right_after_it_broke_is_not_in_the_next(trained: World) -> None:
    trained.fail("r0")
    trained.die("r1")
    assert [formation.members for formation in trained.opened[1:]] == [("r0", "r2")]


def test_one_that_never_answers_is_left_out_of_the_next(trained: World) -> None:
    trained.die("r2")
    trained.form("r0", "r1")
    trained.come("r3")
    trained.leave("r0", "r1")
    assert trained.opened[-1].members == ("r0", "r1", "r3")
    trained.form("r0", "r1")
    trained.wait(LIMITS.form_s)
    assert trained.members == ("r0", "r1")


def test_a_newcomer_for_which_all_others_wait_is_left_out_of_the_next(trained: World) -> None:
    trained.die("r2")
    trained.form("r0", "r1")
    trained.come("r3")
    trained.leave("r0", "r1")
    trained.wait(LIMITS.form_s)
    assert trained.members == ("r0", "r1")


def test_a_newcomer_with_which_all_formations_fail_interrupts_ever_less_often(trained: World) -> None:
    trained.die("r2")
    trained.form("r0", "r1")
    trained.come("r3")
    with_it = 0
    for _ in range(200):
        trained.leave("r0", "r1")
        if "r3" in trained.members:
            with_it += 1
            for name in trained.members:
                trained.fail(name)
        else:
            trained.form("r0", "r1")
        trained.wait(15)
    assert 2 <= with_it <= 10
    trained.wait(600)
    trained.leave("r0", "r1")
    trained.form("r0", "r1", "r3")
    assert trained.members == ("r0", "r1", "r3")


@pytest.mark.parametrize("bad", NAMES[:4])
def test_whichever_member_cannot_be_reached_the_others_train(bad: str) -> None:
    world = World(Limits(min_workers=2, max_workers=4))
    world.come(*NAMES[:4])
    tries = 0
    while bad in world.members:
        tries += 1
        assert tries < 40
        for name in world.members:
            world.fail(name)
        world.wait(15)
    world.form(*world.members)
    assert world.membership.group.whole
    assert len(world.members) >= 2


def test_a_stopped_process_that_comes_back_is_told_to_drop_and_rejoins_last(trained: World) -> None:
    trained.cut("r0")
    trained.form("r1", "r2")
    trained.come("r0")
    assert trained.ranks["r0"].held is False
    trained.leave("r1", "r2")
    assert trained.members == ("r1", "r2", "r0")


def test_one_that_comes_back_while_it_was_forming_is_told_to_drop_it(world: World) -> None:
    world.come("r0", "r1", "r2")
    world.cut("r0")
    world.fence_answers = False
    world.come("r0")
    assert (world.ranks["r0"].formation, world.ranks["r0"].held) == (1, False)


def test_a_new_control_process_adopts_what_trains_and_disturbs_nobody(trained: World) -> None:
    trained.restart()
    trained.come("r2", "r1")
    trained.wait(LIMITS.adopt_s / 2)
    trained.come("r0")
    trained.wait(100)
    assert (trained.number, trained.membership.group.whole, len(trained.opened)) == (1, True, 1)
    assert trained.membership.leads("r0")
    trained.die("r1")
    assert (trained.number, trained.members) == (2, ("r0", "r2"))


def test_those_are_seen_that_are_there_and_while_nobody_came_yet_those_that_may_train(trained: World) -> None:
    trained.cut("r2")
    trained.form("r0", "r1")
    trained.die("r1")  # too few are left to form
    assert (trained.members, trained.membership.seen(trained.now_s)) == (("r0", "r1"), ("r0",))
    trained.restart()
    assert trained.membership.seen(trained.now_s) == ("r0", "r1")
    assert trained.wake_s <= trained.now_s + LIMITS.alone_s
    trained.wait(LIMITS.alone_s)
    assert trained.membership.seen(trained.now_s) == ()
    trained.come("r0")
    assert trained.membership.seen(trained.now_s) == ("r0",)


def test_who_is_dead_for_certain_is_not_seen() -> None:
    world = trained_by("w0/a", "w1/b", "w2/c")
    world.restart()
    world.come("w1/d")
    assert world.membership.seen(world.now_s) == ("w0/a", "w2/c")


def test_a_new_control_process_goes_on_without_those_that_do_not_come(trained: World) -> None:
    trained.restart()
    trained.come("r0", "r1")
    trained.wait(LIMITS.adopt_s)
    assert (trained.number, trained.members) == (2, ("r0", "r1"))


def test_a_new_control_process_does_not_wait_where_the_group_is_broken(trained: World) -> None:
    trained.restart()
    trained.fail("r1")
    trained.come("r0", "r1", "r2")
    assert (trained.number, trained.members) == (2, ("r0", "r1", "r2"))


def test_a_formation_that_was_written_and_told_to_nobody_is_followed_by_another(trained: World) -> None:
    trained.record = replace(trained.record, number=2, members=("r0", "r1"), addresses=("10.0.0.0", "10.0.0.1"))
    trained.opened.append(trained.record)
    trained.restart()
    trained.come("r0", "r1")
    assert (trained.number, trained.members) == (3, ("r0", "r1"))


def test_newcomers_do_not_go_on_without_the_state_while_somebody_may_train(trained: World) -> None:
    for name in ("r0", "r1", "r2"):
        trained.cut(name)
    assert trained.members == ("r1", "r2")
    trained.come("r3", "r4")
    trained.wait(LIMITS.alone_s - 1)
    assert (trained.number, trained.going_on()) == (2, [])
    trained.wait(2)
    assert (trained.members, trained.going_on()) == (("r3", "r4"), [3])


def test_a_state_that_is_on_its_way_is_waited_for_as_long_as_it_comes_further() -> None:
    world = World()
    world.come("r0", "r1", "r2")
    for _ in range(3):
        world.wait(LIMITS.form_s - 1)
        world.say("r1", Healing(world.number))
        assert world.number == 1
    world.say("r1", Healing(7))  # of another formation
    world.wait(LIMITS.form_s + 1)
    assert world.number == 2


def trained_by(*names: str) -> World:
    """A job in which processes of workers have trained for a step."""
    world = World(Limits(min_workers=2, max_workers=len(names)))
    world.come(*names)
    world.form(*names)
    assert world.members == names
    return world


@pytest.mark.parametrize("restarted", [False, True])
def test_where_all_have_been_started_anew_nobody_is_waited_for(*, restarted: bool) -> None:
    world = trained_by("w0/a", "w1/b", "w2/c")
    for name in ("w0/a", "w1/b", "w2/c"):
        world.die(name)
    if restarted:
        world.restart()
    world.come("w0/d", "w2/e")
    world.wait(LIMITS.settle_s + 1)
    assert (world.members, world.going_on()) == (("w1/b", "w2/c"), [])  # w1 may have a process that trains
    world.come("w1/f")
    assert world.members == ("w0/d", "w2/e", "w1/f")


def test_one_that_may_be_alive_is_waited_for_though_the_others_were_started_anew() -> None:
    world = trained_by("w0/a", "w1/b")
    world.cut("w1/b")
    world.die("w0/a")
    world.come("w0/c", "w3/d")
    world.wait(LIMITS.alone_s - 1)
    assert world.number == 1
    world.come("w1/b")
    assert (world.number, world.members[0]) == (2, "w1/b")
    assert world.ranks["w1/b"].step == 0


def test_the_first_formation_of_all_may_train_on_without_being_heard_too() -> None:
    world = World(Limits(min_workers=1, max_workers=1))
    world.come("r0", "r1")
    world.cut("r0")
    world.wait(LIMITS.alone_s - 1)
    assert (world.number, world.going_on()) == (1, [])
    world.wait(2)
    assert world.members == ("r1",)


def test_when_the_first_formation_of_all_loses_one_the_others_form_at_once(world: World) -> None:
    world.come("r0", "r1", "r2")
    world.die("r1")
    assert (world.number, world.members) == (2, ("r0", "r2"))


def test_numbers_are_above_what_members_know_though_the_fence_has_lost_them(world: World) -> None:
    for name in ("r0", "r1", "r2"):
        world.membership.join(hello(name, step=8, formation=7, whole=True), 0.0)
    orders = world.membership.decide(0.0)
    assert {order for _, order in orders.orders} == {Leave(7, at_boundary=False)}
    assert orders.proposal is not None
    assert orders.proposal.number == 8


def test_nobody_forms_after_one_has_finished(trained: World) -> None:
    trained.membership.take("r0", Finished(Position()), trained.now_s)
    trained.die("r1")
    trained.wait(1000)
    assert trained.number == 1


EVENTS = ["come", "cut", "die", "form", "fail", "leave", "short", "long", "fence", "restart"]


def happen(world: World, event: str, name: str) -> None:
    match event:
        case "come":
            world.come(name)
        case "short":
            world.wait(0.5)
        case "long":
            world.wait(25)
        case "fence":
            world.fence_answers = not world.fence_answers
        case "restart":
            world.restart()
        case _ if name in world.ranks:
            getattr(world, event)(name)


def check(world: World) -> None:
    numbers = [formation.number for formation in world.opened]
    assert numbers == sorted(set(numbers))
    assert len(world.going_on()) <= 1
    for formation in world.opened[-2:]:
        assert world.limits.min_workers <= len(formation.members) <= world.limits.max_workers
        assert len(set(formation.members)) == len(formation.members) == len(formation.addresses)


@settings(max_examples=300, deadline=None)
@example(
    least=1,
    more=0,
    events=[("come", "r3"), ("restart", ""), ("long", ""), ("come", "r2"), ("long", ""), ("cut", "r2"), ("come", "r4")],
)
@example(least=1, more=0, events=[("come", "r1"), ("fail", "r1"), ("cut", "r1"), ("come", "r4")])
@example(least=1, more=0, events=[("come", "r1"), ("come", "r0"), ("cut", "r1")])
@given(
    least=st.integers(1, 3),
    more=st.integers(0, 2),
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(NAMES)), max_size=60),
)
def test_whatever_happens(least: int, more: int, events: list[tuple[str, str]]) -> None:
    world = World(Limits(min_workers=least, max_workers=least + more))
    for event, name in events:
        happen(world, event, name)
        check(world)
    world.fence_answers = True
    world.come(*world.ranks)
    for _ in range(60):
        world.leave(*world.ranks)
        world.form(*world.ranks)
        world.wait(30)
        check(world)
    group = world.membership.group
    assert group.whole or len(world.ranks) < least
    full = len(world.members) == world.limits.max_workers
    assert set(world.ranks) <= set(world.members) or full or len(world.ranks) < least
