from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from contextvars import ContextVar

import pytest

from modelyard.tasks import heeding_cancellation, in_own_task, unless, until
from tests.waiting import eventually


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


VALUE: ContextVar[int] = ContextVar("VALUE", default=0)


class Counting:
    """Counts up to `end`, then waits or ends; `closed` once it is closed."""

    def __init__(self, end: int = 3, *, ends: bool = False) -> None:
        self.end, self.ends, self.closed = end, ends, False

    async def stream(self) -> AsyncGenerator[int, None]:
        try:
            for _ in range(self.end):
                VALUE.set(VALUE.get() + 1)
                yield VALUE.get()
            if not self.ends:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_a_stream_that_ends() -> None:
    counting = Counting(ends=True)
    assert [n async for n in until(asyncio.Event(), counting.stream())] == [1, 2, 3]
    assert counting.closed


async def test_an_event_ends_a_stream_that_waits() -> None:
    stop, counting, seen = asyncio.Event(), Counting(), []
    async for number in until(stop, counting.stream()):
        seen.append(number)
        if number == 3:
            asyncio.get_running_loop().call_soon(stop.set)
    assert (seen, counting.closed) == ([1, 2, 3], True)


async def test_an_event_ends_a_stream_that_is_always_ready() -> None:
    stop, counting, seen = asyncio.Event(), Counting(1000), []
    async for number in until(stop, counting.stream()):
        seen.append(number)
        if number == 5:
            stop.set()
    assert (seen, counting.closed) == ([1, 2, 3, 4, 5], True)


async def test_who_leaves_closes_the_stream() -> None:
    counting = Counting()
    stream = until(asyncio.Event(), counting.stream())
    assert await anext(stream) == 1
    await stream.aclose()
    assert counting.closed


async def test_who_is_cancelled_closes_the_stream() -> None:
    counting, seen = Counting(), asyncio.Event()

    async def read() -> None:
        async for number in until(asyncio.Event(), counting.stream()):
            if number == 3:
                seen.set()

    reading = asyncio.create_task(read())
    await seen.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert counting.closed


async def test_the_failure_of_a_stream_is_raised() -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("broken")

    stream = until(asyncio.Event(), failing())
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        await anext(stream)


SERVICE = """
import asyncio, sys
from modelyard.rpc.server import on_termination
from modelyard.tasks import background, serving

async def work():
    await asyncio.sleep(0)
    if "fail" in sys.argv:
        raise ValueError("no more")
    sys.stdout.write("working")
    sys.stdout.flush()
    await asyncio.Event().wait()

async def serve():
    stop = on_termination()
    async with background(work()):
        await stop.wait()

asyncio.run(serving(serve()))
"""


def test_a_service_whose_background_work_fails_ends_with_a_status_that_says_so() -> None:
    command = [sys.executable, "-c", SERVICE, "fail"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "background work failed: ValueError('no more')" in ended.stderr


def test_a_service_that_is_told_to_stop_ends_well() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"working"
        process.terminate()
        assert process.wait(60) == 0


async def test_a_cancellation_that_was_swallowed_is_heeded() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        with heeding_cancellation(), suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(work())
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_failure_without_a_cancellation_is_raised() -> None:
    with pytest.raises(ValueError, match="no"), heeding_cancellation():
        raise ValueError("no")


class Group:
    """A task group in a task of its own, a few times, one task of which fails when it is told to or cancelled."""

    def __init__(self) -> None:
        self.begun, self.fail = asyncio.Event(), asyncio.Event()
        self.failures = 0

    async def run(self) -> None:
        while self.failures < 5:
            try:
                await in_own_task(self._group())
            except* ValueError:
                self.failures += 1

    async def _group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())

    async def _work(self) -> None:
        try:
            self.begun.set()
            await self.fail.wait()
        finally:
            self.fail.clear()
            self.begun.clear()
            raise ValueError("no")


async def test_a_cancellation_ends_it_though_a_failure_in_a_group_came_with_it() -> None:
    group = Group()
    running = asyncio.create_task(group.run())
    await group.begun.wait()
    running.cancel()
    await asyncio.wait([running], timeout=30)
    assert running.cancelled()
    assert group.failures == 0


async def test_after_the_failure_of_a_group_nobody_is_cancelled() -> None:
    group = Group()
    running = asyncio.create_task(group.run())
    for _ in range(3):
        await asyncio.wait_for(group.begun.wait(), 30)
        group.fail.set()
        await eventually(lambda: not group.fail.is_set())
        assert not running.cancelling()
    await asyncio.wait_for(group.begun.wait(), 30)
    assert group.failures == 3
    running.cancel()
    await asyncio.wait([running], timeout=30)
    assert running.cancelled()


async def test_what_is_run_in_its_own_task_returns_or_raises() -> None:
    assert await in_own_task(asyncio.sleep(0, 5)) == 5

    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_own_task(fail())
