from __future__ import annotations

import asyncio

from modelyard_worker.jobs.reader.turns import Turns
from tests.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_as_many_as_execute_and_one_more_are_under_way() -> None:
    turns = Turns(2)
    taken = [await turns.take(0) for _ in range(3)]
    fourth = asyncio.ensure_future(turns.take(0))
    await asyncio.sleep(0)
    assert not fourth.done()
    turns.give(taken[1])
    turns.give(await fourth)
    assert [turn.begun_s is not None for turn in taken] == [True, True, True]


async def test_the_older_task_goes_first() -> None:
    turns = Turns(1)
    held = [await turns.take(0) for _ in range(2)]
    came: list[int] = []

    async def one(order: int) -> None:
        turn = await turns.take(order)
        came.append(order)
        turns.give(turn)

    waiting = asyncio.gather(*(one(order) for order in (3, 1, 2, 1)))
    await asyncio.sleep(0)
    for turn in held:
        turns.give(turn)
    await waiting
    assert came == [1, 1, 2, 3]


async def test_seconds_are_those_after_the_one_before_has_ended() -> None:
    clock = Clock()
    turns = Turns(1, clock)
    first, second = await turns.take(0), await turns.take(0)
    clock.now_s = 5.0
    assert turns.give(first) == 5.0
    clock.now_s = 7.0
    assert turns.give(second) == 2.0


async def test_what_never_began_took_no_time() -> None:
    clock = Clock()
    turns = Turns(1, clock)
    first, second = await turns.take(0), await turns.take(0)
    clock.now_s = 5.0
    assert turns.give(second) == 0.0
    assert turns.give(first) == 5.0


async def test_a_turn_is_not_lost_with_who_waited_for_it() -> None:
    turns = Turns(1)
    held = [await turns.take(0) for _ in range(2)]
    waiting = [asyncio.ensure_future(turns.take(order)) for order in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # before it is granted
    await asyncio.sleep(0)
    turns.give(held[0])
    waiting[1].cancel()  # after it was granted, before it could run
    turns.give(await asyncio.wait_for(waiting[2], 30))
    turns.give(held[1])
    again = [await asyncio.wait_for(turns.take(0), 30) for _ in range(2)]
    assert len(again) == 2
    await eventually(lambda: all(task.done() for task in waiting))
