from __future__ import annotations

import asyncio
import contextlib

from modelyard.train.control.messages import Committed, Failed, Finished, Saved
from modelyard.train.control.progress import News, Progress, State
from modelyard.train.control.waiting import Waits
from modelyard.train.position import Position
from tests.waiting import eventually


class Slow:
    """Hears one piece of news at a time, when it is let."""

    def __init__(self) -> None:
        self.heard: list[News] = []
        self.began = asyncio.Event()
        self.let = asyncio.Semaphore(0)

    async def hear(self, news: News) -> None:
        self.began.set()
        await self.let.acquire()
        self.heard.append(news)


def committed(step: int) -> Committed:
    return Committed(Position(step), {"loss": 1 / step}, 8, 0.1)


async def test_a_slow_listener_hears_all_that_was_committed_and_the_latest_of_the_rest() -> None:
    slow = Slow()
    progress = Progress(slow)
    running = asyncio.create_task(progress.run())
    progress.take(committed(1))
    await slow.began.wait()
    for step in (2, 3, 3, 2):
        progress.take(committed(step))
    progress.take(Saved(Position(2), "b"))
    progress.take(Saved(Position(1), "a"))
    progress.take(State(1, ("r0",), 0, trains=True))
    progress.take(Failed("first"))
    progress.take(Failed("second"))
    progress.take(Finished(Position(3), "first"))
    progress.take(Finished(Position(3), "second"))
    slow.let.release()
    slow.let.release()
    await eventually(lambda: len(slow.heard) == 2)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    first, second = slow.heard
    assert [one.position.step for one in first.committed] == [1]
    assert [one.position.step for one in second.committed] == [2, 3]
    assert (second.saved, second.state.number) == (Saved(Position(2), "b"), 1)
    assert second.finished is not None
    assert second.failed is not None
    assert (second.finished.reason, second.failed.reason) == ("first", "first")
    assert progress.last == committed(3)


async def test_who_fails_when_training_has_finished_changes_nothing_about_that() -> None:
    progress = Progress(Slow())
    progress.take(Finished(Position(3), "FINISHED", "v"))
    progress.take(Failed("ranks died 5 times in a row"))
    assert (progress.finished, progress.failed) == (Finished(Position(3), "FINISHED", "v"), None)


async def test_what_a_rank_0_waits_for_is_forgotten_once_another_one_is_that() -> None:
    progress, waits = Progress(Slow()), Waits("no registry is live", 7.0)
    progress.take(State(1, ("a", "b"), lead="a"))
    progress.take(waits)
    progress.take(State(2, ("b",), lead="a"))
    assert progress.waits == waits
    progress.take(State(3, ("b", "a"), lead="b"))
    assert progress.waits == Waits()
