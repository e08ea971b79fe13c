from __future__ import annotations

import asyncio

from modelyard_registry.artifacts.lanes import Lanes
from tests.waiting import eventually

FOREVER_S = 1e6


class Mover:
    """A stream that moves until it is told to wait for the other side, or to end."""

    def __init__(self, lanes: Lanes) -> None:
        self.moving = False
        self.slow = asyncio.Event()
        self.came = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(lanes))

    async def _run(self, lanes: Lanes) -> None:
        async with lanes.lane() as lane:
            await lane.enter()
            self.moving = True
            await self.slow.wait()
            with lane.waiting():
                await self.came.wait()
            self.moving = False
            await lane.enter()
            self.moving = True


async def settle() -> None:
    """Let all that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_move_and_the_others_wait_for_their_turn() -> None:
    movers = [Mover(lanes) for lanes in [Lanes(2, FOREVER_S)] for _ in range(4)]
    await settle()
    assert [m.moving for m in movers] == [True, True, False, False]
    movers[1].task.cancel()
    await settle()
    assert [m.moving for m in movers] == [True, True, True, False]
    movers[0].task.cancel()
    await settle()
    assert movers[3].moving
    for mover in movers:
        mover.task.cancel()


async def test_who_is_kept_waiting_lets_another_in_and_waits_for_a_lane_then() -> None:
    lanes = Lanes(1, 0.0)
    slow, other = Mover(lanes), Mover(lanes)
    await settle()
    assert not other.moving
    slow.slow.set()
    await eventually(lambda: other.moving)
    slow.came.set()
    await settle()
    assert not slow.moving
    other.task.cancel()
    await asyncio.wait([slow.task])
    assert slow.moving


async def test_who_is_not_kept_waiting_long_keeps_the_lane() -> None:
    lanes = Lanes(1, FOREVER_S)
    quick, other = Mover(lanes), Mover(lanes)
    await settle()
    quick.slow.set()
    await settle()
    assert not other.moving
    quick.came.set()
    await asyncio.wait([quick.task])
    await settle()
    assert other.moving
    other.task.cancel()


async def test_a_lane_can_be_left_twice_and_entered_twice() -> None:
    lanes = Lanes(1, FOREVER_S)
    async with lanes.lane() as lane:
        lane.leave()
        for _ in range(2):
            await lane.enter()
        for _ in range(2):
            lane.leave()
    async with lanes.lane() as lane:
        await lane.enter()
        other = Mover(lanes)
        await settle()
        assert not other.moving
    other.task.cancel()
