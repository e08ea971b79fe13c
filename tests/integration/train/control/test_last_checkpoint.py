"""Which checkpoint a control process has as the last one."""

from __future__ import annotations

from modelyard.etcd import Etcd
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.position import Position
from tests.integration.train.control.controls import Control, recorded
from tests.waiting import eventually


async def test_it_is_told_why_one_was_not_saved_until_a_later_one_is(control: Control) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    two.say(Unsaved(1, "two does not lead"))
    one.say(Unsaved(2, "the store is full"))
    await eventually(lambda: control.heard.news[-1].unsaved == Unsaved(2, "the store is full"))
    one.say(Saved(Position(4), "second", ("first",)))
    await eventually(lambda: control.heard.news[-1].saved == Saved(Position(4), "second", ("first",)))
    assert control.heard.news[-1].unsaved is None
    assert all(news.unsaved != Unsaved(1, "two does not lead") for news in control.heard.news)
    two.cut()
    assert (await one.told()).checkpoint == Saved(Position(4), "second", ("first",))


async def test_of_a_damaged_one_that_before_it_takes_the_place(control: Control, etcd: Etcd) -> None:
    one, two = await control.members("r0", "r1")
    await eventually(lambda: control.membership.group.whole)
    one.say(Saved(Position(5), "damaged", ("whole",)))
    await eventually(lambda: control.progress.saved)
    for _ in range(2):  # it says so again where nobody answered
        two.say(Saved(Position(3), "whole", instead="damaged"))

    async def noted() -> bool:
        return (await recorded(etcd)).formation.checkpoint == Saved(Position(3), "whole")

    await eventually(noted)
    one.say(Saved(Position(4), "next", ("whole",)))
    await eventually(lambda: control.progress.saved == Saved(Position(4), "next", ("whole",)))
    two.say(Saved(Position(3), "whole", instead="damaged"))
    two.cut()
    assert (await one.told()).checkpoint == Saved(Position(4), "next", ("whole",))
