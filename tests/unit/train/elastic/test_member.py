"""What a member says again to a control process that comes after the one that it was said to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelyard.rpc.frames import Frames
from modelyard.train.control.envelopes import Message, unpacked
from modelyard.train.control.messages import Formation, Hello, Saved
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.group import Group, Seat
from modelyard.train.elastic.member import Member
from modelyard.train.position import Position
from tests.waiting import eventually

HELLO = Hello("job-1", "r0", "secret", "127.0.0.1", "agreed")


class Control:
    """Listens."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self._connections: list[Frames] = []

    async def listen(self) -> str:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def _accept(self) -> Frames:
        frames = Frames(lambda frame: self.heard.append(unpacked(frame)))
        self._connections.append(frames)
        return frames

    def die(self) -> None:
        self._server.close()
        for frames in self._connections:
            frames.close()


@pytest.fixture
async def controls() -> AsyncIterator[list[Control]]:
    """One after the other."""
    found = [Control(), Control()]
    yield found
    for control in found:
        control.die()


async def test_a_checkpoint_that_nobody_heard_of_is_told_to_who_comes_next(controls: list[Control]) -> None:
    first, second = controls
    where = await first.listen()
    member = Member(HELLO, lambda: where)
    member.start(lambda: 7)
    try:
        await eventually(lambda: first.heard)
        first.die()
        await eventually(lambda: not member.connected)
        member.saved(Saved(Position(6), "older"))
        member.saved(Saved(Position(7), "last", ("older",)))
        member.waits(Waits("no registry is live", 7.0))
        where = await second.listen()
        await eventually(lambda: len(second.heard) == 3)
        hello, saved, waits = second.heard
        assert isinstance(hello, Hello)
        assert waits == Waits("no registry is live", 7.0)
        assert saved == Saved(Position(7), "last", ("older",))
    finally:
        await asyncio.to_thread(member.close)


async def test_a_group_is_lost_after_so_long_without_a_control_process(controls: list[Control]) -> None:
    where, _ = [await control.listen() for control in controls]
    formation = Formation(1, ("r0",), ("127.0.0.1",), "127.0.0.1:1")
    member, groups = Member(HELLO, lambda: where), [Group(Seat(formation, 0)) for _ in range(2)]
    member.start(lambda: 7)
    try:
        await eventually(lambda: member.connected)
        member.attend(groups[0], 0.0)
        assert not member._alone(0.0)
        controls[0].die()
        await eventually(lambda: groups[0].lost)
        member.attend(groups[1], 0.0)
        await eventually(lambda: groups[1].lost)
    finally:
        await asyncio.to_thread(member.close)
