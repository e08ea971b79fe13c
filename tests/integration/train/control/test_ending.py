"""How jobs end: stopped, finished or failed; and who is told of it when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.train.control.ending import FINISHED
from modelyard.train.control.fence import Record
from modelyard.train.control.group import Stage
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import (
    Broken,
    Envelope,
    Failed,
    Finished,
    Formation,
    Hello,
    Leave,
    Left,
    Saved,
    Stop,
    Unsaved,
)
from modelyard.train.elastic.member import Member
from modelyard.train.position import Position
from tests.integration.train.control.controls import Control, recorded
from tests.integration.train.control.members import AGREEMENT, JOB, SECRET, FakeMember
from tests.waiting import eventually


async def test_a_job_that_is_stopped_ends_when_all_have_finished_or_are_gone(control: Control, etcd: Etcd) -> None:
    one, two = await control.members("r0", "r1")
    control.service.stop("cancelled")
    assert await one.hear(Stop) == Stop("cancelled", save=True, keeps=True)
    assert await two.hear(Stop) == Stop("cancelled", save=True)
    one.say(Finished(Position(3)))
    await eventually(lambda: control.progress.finished)
    assert not control.service.ended.is_set()
    late = FakeMember("r2")
    await late.greet(control.address)
    assert await late.hear(Stop) == Stop("cancelled", save=True)
    late.cut()
    two.say(Finished(Position(3)))
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.service.conclude()
    assert (await recorded(etcd)).formation == Formation(2, (), (), "")


async def test_those_that_left_because_the_job_is_stopped_need_not_be_waited_for_by_who_goes_on(
    control: Control, etcd: Etcd
) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    control.service.stop("down")
    one.say(Left(1, 4))
    one.say(Saved(Position(4), "last"))
    two.say(Broken(1, 4, "stopped"))
    await eventually(lambda: control.progress.saved)
    one.cut()
    two.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.service.conclude()
    assert (await recorded(etcd)).formation == Formation(2, (), (), "", Saved(Position(4), "last"))


async def found(etcd: Etcd, limits: Limits) -> Control:
    """A control process that has just taken the place of another one, whose members train on."""
    left = Record(Formation(4, ("r0", "r1"), ("127.0.0.1", "127.0.0.1"), "127.0.0.1:1"))
    await etcd.put(keys.training_formation(JOB), codec.encode(left))
    control = Control(etcd)
    await control.start(limits)
    return control


async def test_members_that_train_on_are_waited_for_when_the_job_is_stopped_before_they_have_come(etcd: Etcd) -> None:
    control = await found(etcd, Limits(min_workers=1, max_workers=2))
    control.service.stop("paused")
    assert not control.service.ended.is_set()
    one = FakeMember("r0")
    one.formation = control.membership.group.formation
    await one.greet(control.address, step=7, whole=True)
    assert await one.hear(Stop) == Stop("paused")
    one.say(Saved(Position(8), "last"))
    one.say(Left(4, 8))
    assert await one.hear(Stop) == Stop("paused", keeps=True)
    assert control.progress.saved
    one.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.close()


async def test_members_that_never_come_do_not_keep_a_job_from_being_stopped(etcd: Etcd) -> None:
    control = await found(etcd, Limits(min_workers=1, max_workers=2, adopt_s=0.2))
    control.service.stop("paused")
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.close()


@pytest.fixture
async def wide(etcd: Etcd) -> AsyncIterator[Control]:
    """A control process of up to three members."""
    one = Control(etcd)
    await one.start(Limits(min_workers=1, max_workers=3, settle_s=0.1))
    yield one
    await one.close()


async def stopped_in_a_step(control: Control, *names: str) -> list[FakeMember]:
    """Members of which the first one is to save the state."""
    members = await control.members(*names)
    await eventually(lambda: control.membership.group.whole)
    control.service.stop("paused")
    for member in members:
        assert await member.hear(Stop) == Stop("paused", keeps=member is members[0])
    return members


async def test_if_who_saves_is_killed_before_it_has_another_one_does(wide: Control, etcd: Etcd) -> None:
    one, two, three = await stopped_in_a_step(wide, "r0", "r1", "r2")
    for member in (one, two, three):
        member.say(Left(1, 4))
    await eventually(lambda: not wide.membership.group.those(Stage.WHOLE))
    one.cut()
    assert await two.hear(Stop) == Stop("paused", keeps=True)
    assert three.nothing_heard
    two.say(Saved(Position(4), "last"))
    await eventually(lambda: wide.progress.saved)
    two.cut()
    assert await three.hear(Stop) == Stop("paused", save=False)
    three.cut()
    await asyncio.wait_for(wide.service.ended.wait(), 30)
    await wide.service.conclude()
    assert (await recorded(etcd)).formation == Formation(2, (), (), "", Saved(Position(4), "last"))


async def test_if_who_saves_is_lost_in_a_step_the_others_drop_it_and_the_furthest_of_them_saves(
    wide: Control,
) -> None:
    one, two, three = await stopped_in_a_step(wide, "r0", "r1", "r2")
    one.cut()
    for member in (two, three):
        assert await member.hear(Leave) == Leave(1, at_boundary=False)
    two.say(Broken(1, 3, "told to leave"))
    await eventually(lambda: wide.membership.connected["r1"].step == 3)
    assert two.nothing_heard
    three.say(Broken(1, 4, "told to leave"))
    assert await three.hear(Stop) == Stop("paused", keeps=True)


async def test_what_cannot_be_saved_is_not_tried_by_one_after_the_other(control: Control) -> None:
    one, two = await stopped_in_a_step(control, "r0", "r1")
    for member in (one, two):
        member.say(Left(1, 4))
    one.say(Unsaved(4, "the store is full"))
    await eventually(lambda: control.progress.unsaved)
    one.cut()
    assert await two.hear(Stop) == Stop("paused", save=False)


async def test_what_could_not_be_saved_before_is_tried_again_when_the_job_is_stopped(control: Control) -> None:
    (one,) = await control.members("r0")
    await eventually(lambda: control.membership.group.whole)
    one.say(Unsaved(4, "the store is full"))
    control.membership.over = True
    one.say(Broken(1, 4, "it is lost"))
    await eventually(lambda: control.membership.connected["r0"].step == 4)
    control.service.stop("paused")
    assert await one.hear(Stop) == Stop("paused", keeps=True)


async def test_one_that_comes_with_a_later_state_than_what_is_saved_saves_it(control: Control) -> None:
    control.service.stop("paused")
    for name, step in (("r0", -1), ("r1", 7)):
        member = FakeMember(name)
        await member.greet(control.address, step=step)
        assert await member.hear(Stop) == Stop("paused", save=step >= 0, keeps=step >= 0)


async def test_a_job_of_which_a_member_was_lost_at_the_end_is_not_noted_as_left_by_all(
    control: Control, etcd: Etcd
) -> None:
    one, two = await control.members("r0", "r1")
    control.service.stop("cancelled")
    one.say(Finished(Position(3)))
    two.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.service.conclude()
    assert (await recorded(etcd)).formation.members == ("r0", "r1")


async def test_what_is_said_late_of_a_formation_before_does_not_mean_that_this_one_is_left(
    control: Control, etcd: Etcd
) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    two.say(Broken(1, 3, "a collective failed"))
    for member in (one, two):
        await member.form()
    await eventually(lambda: control.membership.group.whole)
    control.service.stop("paused")
    one.say(Broken(1, 3, "a collective failed"))
    two.say(Broken(2, 4, "stopped"))
    await eventually(lambda: control.membership.connected["r1"].step == 4)
    one.cut()
    two.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.service.conclude()
    assert (await recorded(etcd)).formation.members == ("r0", "r1")


def stop_while_writing(control: Control) -> None:
    """Stop the job when the next formation is written, and not told to anybody yet."""
    write = control.fence.write

    async def written(record: Record) -> bool:
        done = await write(record)
        control.service.stop("paused")
        return done

    control.fence.write = written  # type: ignore[method-assign]


@pytest.mark.parametrize("all_say_so", [True, False])
async def test_the_last_checkpoint_is_noted_also_if_the_job_was_stopped_while_a_formation_was_written(
    etcd: Etcd, all_say_so: bool
) -> None:
    control, saved = Control(etcd), Saved(Position(4), "last")
    await control.start()
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    stop_while_writing(control)
    if all_say_so:
        two.say(Broken(1, 4, "it is lost"))
        one.say(Broken(1, 4, "it is lost"))
        assert await two.hear(Stop) == Stop("paused")
        two.cut()
    else:
        two.cut()
        one.say(Broken(1, 4, "it is lost"))
    assert await one.hear(Stop) == Stop("paused", keeps=True)
    one.say(saved)
    await eventually(lambda: control.progress.saved)
    one.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    control.running.cancel()
    del control.fence.write
    await asyncio.wait_for(control.service.conclude(), 30)
    formation = (await recorded(etcd)).formation
    assert formation.checkpoint == saved
    assert (formation.number, bool(formation.members)) == (3 if all_say_so else 2, not all_say_so)
    await control.close()


async def test_the_end_is_noted_as_soon_as_etcd_answers(
    control: Control, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = await control.members("r0")
    commit, answers = etcd.commit, [UnavailableError("away")]

    async def committed(*changes: Any) -> int:
        if answers:
            raise answers.pop()
        return await commit(*changes)

    control.service.stop("cancelled")
    one.say(Finished(Position(3)))
    await asyncio.wait_for(control.service.ended.wait(), 30)
    control.running.cancel()
    monkeypatch.setattr(etcd, "commit", committed)
    await asyncio.wait_for(control.service.conclude(), 30)
    assert not answers
    assert (await recorded(etcd)).formation.members == ()


async def test_when_one_has_finished_those_that_are_in_no_group_end(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    spare = FakeMember("r2")
    await spare.greet(control.address)
    await eventually(lambda: control.membership.waiting)
    one.say(Finished(Position(3)))
    assert await spare.hear(Stop) == FINISHED
    two.say(Broken(1, 3, "the others are gone"))
    assert await two.hear(Stop) == FINISHED
    for member in (one, two, spare):
        member.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)


async def test_a_job_that_cannot_go_on_is_stopped_everywhere(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    two.say(Failed("ValueError: labels out of range", "Traceback"))
    assert await one.hear(Stop) == Stop("r1 failed: ValueError: labels out of range", save=False)
    await eventually(lambda: control.heard.news[-1].failed)
    assert control.heard.news[-1].failed == Failed("ValueError: labels out of range", "Traceback")


async def test_who_waits_for_others_saves_what_it_has_when_the_job_is_stopped(etcd: Etcd) -> None:
    control = Control(etcd)
    await control.start(Limits(min_workers=2, max_workers=3, settle_s=0.1))
    lost, one, two = await control.members("r0", "r1", "r2")
    await eventually(lambda: control.membership.group.whole)
    lost.cut()
    for member in (await one.form(), await two.form()):
        assert member.members == ("r1", "r2")
    two.cut()
    await eventually(lambda: set(control.membership.connected) == {"r1"})
    control.membership.over = True  # nobody forms before it is stopped
    one.say(Broken(2, 7, "it is lost"))
    stateless = FakeMember("r3")
    await stateless.greet(control.address)
    await eventually(lambda: [hello.step for hello in control.membership.connected.values()] == [7, -1])
    control.service.stop("paused")
    assert await one.hear(Stop) == Stop("paused", save=True, keeps=True)
    control.running.cancel()  # at the end nobody decides any more
    one.say(Saved(Position(7), "last"))
    one.cut()
    stateless.cut()
    await asyncio.wait_for(control.service.ended.wait(), 30)
    await control.service.conclude()
    assert (await recorded(etcd)).formation.checkpoint == Saved(Position(7), "last")
    await control.close()


@pytest.mark.parametrize(
    "last",
    [Envelope(finished=Finished(Position(3), "FINISHED", "v")), Envelope(failed=Failed("broken"))],
    ids=["finished", "failed"],
)
async def test_who_has_ended_says_so_until_it_is_written_down(etcd: Etcd, last: Envelope) -> None:
    first, second = Control(etcd), Control(etcd)
    await first.start()
    found = first
    member = Member(Hello(JOB, "r0", SECRET, "127.0.0.1", AGREEMENT), lambda: found.address)
    member.start(lambda: 3)
    with ThreadPoolExecutor() as threads:
        parting = threads.submit(member.part, last)
        await asyncio.wait_for(first.service.ended.wait(), 30)
        await first.close()  # it ends before it has written that down
        assert not parting.done()
        await etcd.delete(first.key)
        await second.start()
        found = second
        await asyncio.wait_for(second.service.ended.wait(), 30)
        assert (second.progress.finished, second.progress.failed) == (last.finished, last.failed)
        assert not parting.done()
        second.service.dismiss()
        await asyncio.wrap_future(parting)
        await asyncio.to_thread(member.close)
    await second.close()


async def test_one_that_fails_before_it_knows_what_the_others_agree_on_is_heard(control: Control) -> None:
    (one,) = await control.members("r0")
    await eventually(lambda: control.membership.group.whole)
    failing = FakeMember("r1")
    await failing.greet(control.address, agreement="")
    for message in (Broken(1, 0, "it trains no more"), Left(1, 0)):
        failing.say(message)
    await eventually(lambda: "r1" in control.service._members)
    failing.cut()
    await eventually(lambda: "r1" not in control.service._members)
    assert one.nothing_heard  # nobody makes room for who comes to say that
    member = Member(Hello(JOB, "r1", SECRET, "127.0.0.1", "recipe=a,seed=2"), lambda: control.address)
    member.start(lambda: -1)
    with ThreadPoolExecutor() as threads:
        parting = threads.submit(member.part, Envelope(failed=Failed("no such column")))
        assert await one.hear(Stop) == Stop("r1 failed: no such column", save=False)
        one.cut()
        await asyncio.wait_for(control.service.ended.wait(), 30)
        control.service.dismiss()
        await asyncio.wrap_future(parting)
        await asyncio.to_thread(member.close)
