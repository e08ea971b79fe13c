from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from modelyard import keys
from modelyard.etcd import Etcd
from modelyard.train.control.fence import DeposedError
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import (
    Broken,
    Committed,
    Formation,
    Formed,
    Hello,
    Leave,
    Left,
    Refused,
    Saved,
)
from modelyard.train.control.waiting import Waits
from modelyard.train.position import Position
from tests.integration.train.control.controls import Control, recorded
from tests.integration.train.control.members import JOB, SECRET, FakeMember
from tests.servers import ProgramServer
from tests.waiting import eventually

LIMITS = Limits(min_workers=1, max_workers=2, settle_s=0.1)


async def test_members_form_and_the_survivors_of_one_that_is_killed_form_anew(control: Control, etcd: Etcd) -> None:
    one, two = await control.members("r0", "r1")
    assert one.formation == two.formation == Formation(1, ("r0", "r1"), ("127.0.0.1",) * 2, "127.0.0.1:1")
    one.cut()
    assert (await two.form()).members == ("r1",)
    assert (await recorded(etcd)).formation == two.formation
    await one.greet(control.address, step=3, whole=True)
    assert await one.hear(Leave) == Leave(1, at_boundary=False)
    assert await two.hear(Leave) == Leave(2, at_boundary=True)
    two.say(Left(2, 4))
    assert (await one.form()).members == (await two.form()).members == ("r1", "r0")


async def test_a_member_that_is_silent_is_lost(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    assert two.frames._beat is not None
    two.frames._beat.cancel()  # as a process that was stopped
    assert (await one.form()).members == ("r0",)
    await two.heard_end()


async def test_a_group_that_broke_forms_anew(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    one.say(Broken(1, 3, "a collective failed"))
    assert (await two.form()).number == (await one.form()).number == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secret": "wrong"}, "the secret"),
        ({"job": "wrong"}, "expected a member of job"),
        ({"agreement": "recipe=a,seed=2"}, "seed: expected '1', got '2'"),
    ],
)
async def test_who_is_refused_is_told_why_and_disturbs_nobody(
    control: Control, options: dict[str, str], words: str
) -> None:
    (one,) = await control.members("r0")
    stranger = FakeMember("r1")
    await stranger.greet(control.address, **options)  # type: ignore[arg-type]
    assert words in (await stranger.hear(Refused)).reason
    await stranger.heard_end()
    assert one.nothing_heard
    assert list(control.membership.connected) == ["r0"]


@pytest.mark.parametrize("frame", [b"?", b"{}", b'{"stop": {"reason": ""}}', b'{"formed": {"formation": "x"}}'])
async def test_a_member_that_is_not_understood_is_lost(
    control: Control, caplog: pytest.LogCaptureFixture, frame: bytes
) -> None:
    one, two = await control.members("r0", "r1")
    two.frames.send((frame,))
    await two.heard_end()
    assert (await one.form()).members == ("r0",)
    assert [r.__dict__["member"] for r in caplog.records if r.message == "message not understood"] == ["r1"]


async def test_who_does_not_say_hello_first_or_says_it_twice_is_turned_away(control: Control) -> None:
    (one,) = await control.members("r0")
    stranger = FakeMember("r1")
    await stranger.connect(control.address)
    stranger.say(Formed(1))
    await stranger.heard_end()
    one.say(Hello(JOB, "r0", SECRET, "127.0.0.1", ""))
    await one.heard_end()


async def test_a_member_on_a_second_connection_takes_the_place_of_the_first(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    again = FakeMember("r1")
    again.formation = two.formation
    await again.greet(control.address, step=1)
    await two.heard_end()
    assert (await again.form()).members == (await one.form()).members == ("r0", "r1")


async def test_the_last_checkpoint_is_in_etcd_whatever_dies_then(control: Control, etcd: Etcd) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    before = await recorded(etcd)
    for step in (3, 5):
        saved = Saved(Position(step), f"at {step}")
        one.say(saved)

        async def is_known(saved: Saved = saved) -> bool:
            return (await recorded(etcd)).formation.checkpoint == saved

        await eventually(is_known)
    assert replace(before.formation, checkpoint=saved) == (await recorded(etcd)).formation
    two.cut()
    assert (await one.told()).checkpoint == saved


async def test_progress_is_what_rank_0_says(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    two.say(Committed(Position(9), {}, 1, 1.0))
    two.say(Saved(Position(9), "not"))
    two.say(Waits("nothing"))
    one.say(Waits("no registry is live", 7.0))
    one.say(Committed(Position(1), {"loss": 0.5}, 8, 0.1))
    one.say(Saved(Position(1), "first"))
    await eventually(lambda: control.progress.saved)
    assert control.progress.saved == Saved(Position(1), "first")
    assert control.progress.waits == Waits("no registry is live", 7.0)
    await eventually(lambda: control.heard.news[-1].saved)
    assert [one.position.step for news in control.heard.news for one in news.committed] == [1]
    state = control.heard.news[-1].state
    assert (state.number, state.members, state.trains) == (1, ("r0", "r1"), True)
    two.cut()
    assert (await one.told()).checkpoint == Saved(Position(1), "first")


async def test_while_etcd_is_away_who_comes_back_trains_on_and_nobody_forms(
    control: Control, etcd_server: ProgramServer
) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    etcd_server.stop()
    try:
        two.cut()
        await eventually(lambda: "r1" not in control.membership.connected)
        await two.greet(control.address, step=3, whole=True)
        await eventually(lambda: control.membership.group.whole)
        two.cut()
        await eventually(lambda: "r1" not in control.membership.connected)
        assert one.nothing_heard
    finally:
        etcd_server.start()
    assert (await one.form()).members == ("r0",)


async def test_one_that_does_not_own_the_job_any_more_tells_nobody_anything(control: Control, etcd: Etcd) -> None:
    one, two = await control.members("r0", "r1")
    await etcd.delete(keys.training_control(JOB))
    two.cut()
    with contextlib.suppress(TimeoutError), pytest.raises(DeposedError):
        await asyncio.wait_for(control.running, 30)
    assert one.nothing_heard
