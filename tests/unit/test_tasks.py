from __future__ import annotations

import asyncio

import pytest

from modelyard.tasks import unless


async def test_work_that_ends() -> None:
    assert await unless(asyncio.Event(), asyncio.sleep(0))


async def test_an_event_ends_the_work() -> None:
    stop, begun, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(unless(stop, work()))
    await begun.wait()
    stop.set()
    assert not await running
    assert ended.is_set()


async def test_work_that_fails() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless(asyncio.Event(), work())


async def test_a_caller_that_goes_ends_the_work() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(unless(asyncio.Event(), work()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
