from __future__ import annotations

import asyncio

from modelyard import revisions


async def work(revision: int) -> None:
    await asyncio.sleep(0)
    revisions.note(revision)


async def test_the_newest_of_all_that_is_done_at_once() -> None:
    seen = revisions.begin()
    assert seen.newest == 0
    await asyncio.gather(work(3), work(9), asyncio.create_task(work(7)))
    assert seen.newest == 9
    revisions.note(5)
    assert seen.newest == 9


async def test_calls_beside_each_other_see_their_own() -> None:
    async def call(revision: int) -> int:
        seen = revisions.begin()
        await work(revision)
        return seen.newest

    assert await asyncio.gather(*(asyncio.create_task(call(n)) for n in (5, 2, 8))) == [5, 2, 8]


def test_nobody_need_ask() -> None:
    revisions.note(4)
    assert revisions.begin().newest == 0
