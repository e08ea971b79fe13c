"""What has ended is told in order, and dead letters are queued again."""

from __future__ import annotations

import pytest

from modelyard.errors import AbortedError, PreconditionError
from modelyard.queue import Counts, Ended, Idle, Job, RetryPolicy, Task, TaskQueue, TaskStatus, Written
from modelyard.queue.records import MAX_REASON
from tests.queues import CAPS, MODEL, Aged, claimed, opened

ENDED = Written(b"ended", "FAILED", keep_s=1000)


async def told(queue: TaskQueue, after: int = 0, limit: int = 100) -> list[tuple[int, str, str]]:
    """What has ended of job j."""
    return [(one.number, one.status.task, one.status.state) for one in await queue.ended("j", after, limit)]


async def submitted(queue: TaskQueue, tasks: int) -> None:
    """Submit job j with tasks 0, 1, ..."""
    await queue.submit(Job("j", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    await queue.enqueue("j", [Task(str(number)) for number in range(tasks)], CAPS, 5)


async def test_what_has_ended_is_told_in_its_order_from_any_number_on(queue: TaskQueue) -> None:
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(max_deaths=1)))
    await queue.enqueue("j", [Task(str(number)) for number in range(6)], CAPS)
    claims = [await claimed(queue) for _ in range(5)]
    assert await queue.finish(claims[3], b"ref")
    assert await queue.finish(claims[3], b"again")
    await queue.fail(claims[0], "odd", retryable=False)
    await queue.fail(claims[1], "later")
    await queue.lost(claims[4])
    await queue.finish(claims[2], b"")
    assert await told(queue) == [(1, "3", "done"), (2, "0", "dead"), (3, "4", "dead"), (4, "2", "done")]
    assert await told(queue, 1, 2) == [(2, "0", "dead"), (3, "4", "dead")]
    assert (await told(queue, 4), await told(queue, 9), await told(queue, 0, 0)) == ([], [], [])
    assert await queue.ended("j", 0, 1) == [Ended(1, TaskStatus("3", "done", b"ref", attempts=1))]
    await queue.cancel("j")
    assert len(await told(queue)) == 4
    assert await queue.ended("?", 0, 5) == []


async def test_a_dead_letter_that_was_retried_is_told_again_when_it_has_ended(queue: TaskQueue) -> None:
    await opened(queue)
    await queue.fail(await claimed(queue), "odd", retryable=False)
    assert await queue.retry_dead("j", "0")
    assert await told(queue) == [(1, "0", "open")]
    await queue.finish(await claimed(queue), b"ref")
    assert await told(queue, 1) == [(2, "0", "done")]


async def test_numbers_go_on_when_what_has_ended_is_cleared(queue: TaskQueue) -> None:
    await submitted(queue, 2)
    await queue.finish(await claimed(queue), b"ref")
    await queue.fail(await claimed(queue), "odd", retryable=False)
    await queue.change("j", ENDED, 1)
    await queue.clear("j")
    await queue.clear("j")
    assert await told(queue) == []
    await queue.change("j", Written(b"again", "RUNNING"), 2)
    assert await queue.retry_dead("j", "1")
    await queue.finish(await claimed(queue), b"ref")
    assert await told(queue) == await told(queue, 2) == [(3, "1", "done")]


async def test_a_leader_retries_a_dead_letter_once_and_a_deposed_one_hears_so(queue: TaskQueue) -> None:
    await submitted(queue, 2)
    for _ in range(2):
        await queue.fail(await claimed(queue), "odd", retryable=False)
    assert [await queue.retry_dead("j", "0", 7) for _ in range(3)] == [True, False, False]
    assert (await queue.record("j")).epoch == 7
    assert (await queue.job("j")).counts == Counts(queued=1, dead=1)
    for task in "01":
        with pytest.raises(AbortedError, match="epoch of 7 or later, got 6"):
            await queue.retry_dead("j", task, 6)
    assert [letter.task for letter in await queue.dead_letters("j")] == ["1"]
    await queue.finish(await claimed(queue), b"")
    await queue.change("j", ENDED, 1)
    assert not await queue.retry_dead("j", "0", 7)
    with pytest.raises(PreconditionError):
        await queue.retry_dead("j", "1", 7)


async def test_clearing_ends_what_is_still_open(queue: TaskQueue) -> None:
    await submitted(queue, 4)
    claim = await claimed(queue)
    await queue.fail(await claimed(queue), "odd")
    await queue.change("j", ENDED, 1)
    await queue.clear("j")
    assert (await queue.job("j")).counts == Counts(cancelled=4)
    assert (await queue.tasks("j", list("0123")), await queue.depths()) == ([None] * 4, [])
    assert not await queue.finish(claim, b"late")
    assert await queue.extend("w", [claim]) == [claim]
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    assert (await queue.active(), await told(queue)) == ([], [])


async def test_tasks_of_a_job_that_has_ended_are_not_fetched_unless_it_goes_on(queue: TaskQueue) -> None:
    await submitted(queue, 2)
    await opened(queue, "other", 1, priority=9)
    await queue.change("j", ENDED, 1)
    assert (await claimed(queue)).job == "other"
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    await queue.change("j", Written(b"again", "RUNNING"), 2)
    assert [(await claimed(queue)).task for _ in range(2)] == ["0", "1"]


@pytest.mark.parametrize("reason", ["x" * 5000, "\N{GRINNING FACE}" * 5000, "half a pair \udcff", ""])
async def test_a_reason_is_cut_and_can_be_written(aged: Aged, reason: str) -> None:
    queue = aged.queue
    await opened(queue)
    await queue.fail(await claimed(queue), reason)
    await aged.advance(1000)
    await queue.fail(await claimed(queue), reason, retryable=False)
    kept = (await queue.dead_letters("j"))[0].reason
    assert len(kept) == min(len(reason), MAX_REASON)
    assert kept[:100] == reason[:100].replace("\udcff", "?")
    kinds = {event.kind: event.detail for event in await queue.events("j", 0)}
    assert kinds["retry"] == kinds["dead"] == kept
