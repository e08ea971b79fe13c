from __future__ import annotations

import asyncio
import re

import pytest

from modelyard.errors import NotFoundError, PreconditionError
from modelyard.queue import Counts, Depth, Idle, Job, RetryPolicy, Task, TaskName, TaskQueue
from tests.queues import CAPS, MODEL, Aged, claimed, opened


async def test_a_paused_jobs_tasks_are_not_fetched_and_others_are(queue: TaskQueue) -> None:
    await opened(queue, "held", 70, priority=0)
    await opened(queue, "free", 1, priority=9)
    in_flight = await claimed(queue)
    await queue.pause("held")
    assert (await claimed(queue)).job == "free"
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    assert await queue.finish(in_flight, b"")
    assert (await queue.job("held")).counts == Counts(queued=69, done=1)
    await queue.resume("held")
    assert sorted([int((await claimed(queue)).task) for _ in range(69)]) == list(range(1, 70))


async def test_what_was_set_aside_comes_back_in_its_order_even_if_it_is_paused_again(queue: TaskQueue) -> None:
    await opened(queue, tasks=40)
    for _ in range(2):
        await queue.pause("j")
        assert await queue.fetch("w", [MODEL]) == Idle(None)
        await queue.resume("j")
        assert await queue.wait([MODEL], 20)
    taken = [await claimed(queue) for _ in range(10)]
    await queue.pause("j")
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    assert (await queue.job("j")).counts == Counts(queued=30, in_flight=10)
    await queue.resume("j")
    taken += [await claimed(queue) for _ in range(30)]
    assert sorted(int(claim.task) for claim in taken) == list(range(40))
    assert [int(claim.task) for claim in taken[:10]] == list(range(10))


async def test_pausing_and_resuming_again_change_nothing(queue: TaskQueue) -> None:
    await opened(queue)
    for _ in range(2):
        await queue.pause("j")
    assert (await queue.job("j")).event == 2
    for _ in range(2):
        await queue.resume("j")
    assert ((await queue.job("j")).state, (await claimed(queue)).task) == ("running", "0")


async def test_what_fails_or_is_given_back_while_paused_waits_too(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    claims = [await claimed(queue, "a"), await claimed(queue, "b")]
    await queue.pause("j")
    await queue.release(claims[0])
    await queue.recover_from("b")
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    await queue.resume("j")
    assert {(await claimed(queue)).task for _ in range(2)} == {"0", "1"}


async def test_cancelling_drops_what_is_queued_and_makes_stale_what_is_in_flight(queue: TaskQueue) -> None:
    await opened(queue, tasks=4)
    done, failed, live = [await claimed(queue) for _ in range(3)]
    await queue.finish(done, b"ref")
    await queue.fail(failed, "odd")
    await queue.cancel("j")
    await queue.cancel("j")
    assert not await queue.finish(live, b"")
    assert await queue.extend("w", [live]) == [live]
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    status = await queue.job("j")
    assert (status.state, status.counts) == ("cancelled", Counts(done=1, cancelled=3))
    assert [task and task.state for task in await queue.tasks("j", list("0123"))] == ["done", *["cancelled"] * 3]
    for change in (queue.pause, queue.resume):
        with pytest.raises(PreconditionError):
            await change("j")


async def test_cancelling_a_paused_job_drops_what_was_set_aside(queue: TaskQueue) -> None:
    await opened(queue, tasks=3)
    await queue.pause("j")
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    await queue.cancel("j")
    assert (await queue.job("j")).counts == Counts(cancelled=3)
    assert await queue.depths() == []


async def test_a_deleted_job_is_unknown_and_can_be_opened_anew(queue: TaskQueue) -> None:
    await opened(queue, tasks=3)
    claim = await claimed(queue)
    await queue.delete("j")
    await queue.delete("j")
    assert not await queue.finish(claim, b"")
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    assert await queue.tasks("j", ["0"]) == [None]
    await opened(queue, tasks=1)
    assert (await queue.job("j")).counts == Counts(queued=1)


async def test_an_unknown_job_is_not_found(queue: TaskQueue) -> None:
    for call in (queue.job, queue.pause, queue.resume, queue.cancel):
        with pytest.raises(NotFoundError, match="no job j"):
            await call("j")
    assert await queue.events("j", 0) == []
    assert await queue.dead_letters("j") == []


async def test_dead_letters_are_listed_in_pages_and_retried(queue: TaskQueue) -> None:
    await opened(queue, tasks=5)
    for number in range(5):
        await queue.fail(await claimed(queue), f"odd {number}", retryable=False)
    first = await queue.dead_letters("j", limit=3)
    rest = await queue.dead_letters("j", after=first[-1].letter)
    assert [letter.task for letter in first + rest] == list("01234")
    assert await queue.retry_dead("j", "2")
    claim = await claimed(queue)
    assert (claim.task, claim.failures, claim.payload) == ("2", 0, b"p2")
    assert [letter.task for letter in await queue.dead_letters("j")] == list("0134")
    assert not await queue.retry_dead("j", "2")
    assert (await queue.job("j")).counts == Counts(in_flight=1, dead=4)
    for job, task in (("j", "?"), ("?", "2")):
        with pytest.raises(NotFoundError, match=f"no task {re.escape(task)}"):
            await queue.retry_dead(job, task)
    await queue.cancel("j")
    with pytest.raises(PreconditionError):
        await queue.retry_dead("j", "1")


async def test_a_watch_goes_on_from_a_number(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    await queue.finish(await claimed(queue), b"")
    await queue.fail(await claimed(queue), "odd", retryable=False)
    seen = await queue.events("j", 0)
    assert [(event.number, event.kind, event.task, event.detail) for event in seen] == [
        (1, "running", "", ""),
        (2, "started", "0", "w"),
        (3, "done", "0", ""),
        (4, "started", "1", "w"),
        (5, "dead", "1", "odd"),
    ]
    assert [event.counts for event in seen[1:3]] == [Counts(queued=1, in_flight=1), Counts(queued=1, done=1)]
    assert await queue.events("j", 2) == seen[2:]
    waiting = asyncio.create_task(queue.events("j", 5, 20))
    await asyncio.sleep(0)
    await queue.pause("j")
    assert [event.kind for event in await waiting] == ["paused"]
    assert await queue.events("j", 6, 0.01) == []


async def test_the_last_thousand_events_are_kept(queue: TaskQueue) -> None:
    await opened(queue, tasks=0)
    for _ in range(505):
        await queue.pause("j")
        await queue.resume("j")
    seen, page = [], await queue.events("j", 0)
    while page:
        seen += [event.number for event in page]
        page = await queue.events("j", seen[-1])
    assert seen == list(range(12, 1012))


async def test_who_waits_is_woken_by_what_is_queued(queue: TaskQueue) -> None:
    waiting = [asyncio.create_task(queue.wait(["other@1", MODEL], 20)) for _ in range(2)]
    await asyncio.sleep(0)
    await opened(queue, tasks=2)
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    assert done
    await claimed(queue)  # more is left, so this wakes the other
    assert await asyncio.gather(*waiting) == [True, True]
    await claimed(queue)
    assert not await queue.wait([MODEL], 0.01)


async def test_who_waits_is_woken_by_what_comes_back(aged: Aged) -> None:
    queue = aged.queue
    await opened(queue)
    for give_back in (queue.release, lambda claim: queue.recover_from("w"), lambda claim: queue.fail(claim, "odd")):
        claim = await claimed(queue)
        waiting = asyncio.create_task(queue.wait([MODEL], 20))
        await asyncio.sleep(0)
        await give_back(claim)
        assert await waiting
    idle = await queue.fetch("w", [MODEL])
    assert isinstance(idle, Idle)
    assert idle.due_s is not None
    await aged.advance(1000)
    assert (await claimed(queue)).task == "0"


async def test_depths_are_told_by_tenant_and_model(aged: Aged) -> None:
    queue = aged.queue
    await opened(queue, "a", 3, "t", 1)
    await opened(queue, "b", 2, "t", 7)
    await opened(queue, "c", 1, "u")
    await queue.open(Job("d", "other@2", "u"))
    await queue.enqueue("d", [Task("0")], CAPS)
    await queue.fetch("w", ["other@2"])
    await claimed(queue)
    found = await queue.depths()
    assert [(depth.tenant, depth.model, depth.queued, depth.in_flight) for depth in found] == [
        ("t", MODEL, 4, 1),
        ("u", MODEL, 1, 0),
        ("u", "other@2", 0, 1),
    ]
    assert [depth for depth in found if not 0 <= depth.oldest_s < 60] == []
    assert found[2] == Depth("u", "other@2", 0, 1, 0.0)


async def test_what_waits_for_its_retry_is_told_apart_from_what_is_queued(aged: Aged) -> None:
    queue = aged.queue
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(max_failures=2, first_s=1000, max_s=1000)))
    await queue.enqueue("j", [Task(task) for task in "012"], CAPS)
    await queue.fail(await claimed(queue), "odd")
    assert (await queue.job("j")).counts == Counts(queued=2, delayed=1)
    assert (await queue.events("j", 0))[-1].counts == Counts(queued=2, delayed=1)
    assert [(one.queued, one.delayed, one.dead) for one in await queue.depths()] == [(2, 1, 0)]
    for _ in range(2):
        await queue.fail(await claimed(queue), "odd", retryable=False)
    assert await queue.depths() == [Depth("t", MODEL, 0, 0, 0.0, 1, 2)]
    await aged.advance(1000)
    claim = await claimed(queue)
    assert (claim.failures, (await queue.job("j")).counts) == (1, Counts(in_flight=1, dead=2))
    await queue.retry_dead("j", "1")
    assert [(one.queued, one.in_flight, one.dead) for one in await queue.depths()] == [(1, 1, 1)]
    await queue.release(claim)
    await queue.cancel("j")
    assert (await queue.job("j")).counts == Counts(dead=1, cancelled=2)
    await queue.delete("j")
    assert await queue.depths() == []


async def test_a_cancelled_task_wakes_who_waits_for_it(queue: TaskQueue) -> None:
    await opened(queue, tasks=0)
    await queue.enqueue("j", [Task("a", reply="r")], CAPS)
    await queue.cancel("j")
    assert await queue.replies("r", 5) == [TaskName("j", "a")]
