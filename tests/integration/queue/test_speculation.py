"""Second attempts: for others than who has the first, and two that go wrong together count once."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.errors import AbortedError
from modelyard.queue import Claim, Counts, Failed, Idle, Job, Recovered, RetryPolicy, Task, TaskQueue, Written
from tests.queues import CAPS, MODEL, claimed, opened


async def speculated(queue: TaskQueue, max_failures: int = 2, max_deaths: int = 2) -> list[Claim]:
    """A job whose task has two attempts, of a and b."""
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(max_failures, max_deaths, 0, 0)))
    await queue.enqueue("j", [Task("0")], CAPS)
    first = await claimed(queue, "a")
    assert await queue.speculate("j", "0")
    return [first, await claimed(queue, "b")]


async def test_of_two_attempts_the_first_to_finish_wins(queue: TaskQueue) -> None:
    await opened(queue)
    slow = await claimed(queue, "slow")
    assert await queue.speculate("j", "0")
    assert not await queue.speculate("j", "0")
    quick = await claimed(queue, "quick")
    assert (quick.task, quick.token == slow.token) == ("0", False)
    assert (await queue.job("j")).counts == Counts(in_flight=1)
    assert await queue.finish(quick, b"quick")
    assert not await queue.finish(slow, b"slow")
    assert await queue.extend("slow", [slow]) == [slow]
    found = (await queue.tasks("j", ["0"]))[0]
    assert found is not None
    assert found.result == b"quick"
    assert (await queue.job("j")).counts == Counts(done=1)


async def test_a_second_attempt_that_nobody_fetched_goes_with_the_first(queue: TaskQueue) -> None:
    await opened(queue)
    claim = await claimed(queue)
    assert await queue.speculate("j", "0")
    assert await queue.finish(claim, b"")
    assert await queue.fetch("w", [MODEL]) == Idle(None)


async def test_one_attempt_may_fail_or_be_lost_while_the_other_is_on(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    first = [await claimed(queue, "a"), await claimed(queue, "a")]
    for task in "01":
        assert await queue.speculate("j", task)
    second = [await claimed(queue, "b"), await claimed(queue, "b")]
    assert await queue.fail(first[0], "odd") == Failed("superseded")
    assert await queue.recover_from("a") == [Recovered("j", "1", "a", "superseded")]
    assert (await queue.job("j")).counts == Counts(in_flight=2)
    assert [await queue.finish(claim, b"") for claim in second] == [True, True]


async def test_only_a_task_in_flight_has_a_second_attempt(queue: TaskQueue) -> None:
    await opened(queue)
    assert not await queue.speculate("j", "0")
    assert not await queue.speculate("j", "?")
    assert not await queue.speculate("?", "0")
    assert await queue.finish(await claimed(queue), b"")
    assert not await queue.speculate("j", "0")


async def test_a_second_attempt_stays_for_others_than_who_has_the_first(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    await opened(queue, "late", 1, priority=9)
    assert (await claimed(queue, "a")).task == "0"
    assert (await claimed(queue, "a")).task == "1"
    for task in "01":
        assert await queue.speculate("j", task)
    assert (await claimed(queue, "a")).job == "late"
    assert [await queue.fetch("a", [MODEL]) for _ in range(3)] == [Idle(None)] * 3
    assert [(await claimed(queue, "b")).task for _ in range(2)] == ["0", "1"]


async def test_who_leaves_a_second_attempt_to_others_rings_for_them_once(queue: TaskQueue) -> None:
    await opened(queue)
    await claimed(queue, "a")
    assert await queue.wait([MODEL], 0.01) is False
    await queue.speculate("j", "0")
    assert await queue.wait([MODEL], 20)
    waiting = asyncio.create_task(queue.wait([MODEL], 20))
    await asyncio.sleep(0)
    assert await queue.fetch("a", [MODEL]) == Idle(None)
    assert await waiting
    assert await queue.fetch("a", [MODEL]) == Idle(None)
    assert not await queue.wait([MODEL], 0.01)
    assert (await claimed(queue, "b")).task == "0"


async def test_two_attempts_that_fail_together_are_one_failure(queue: TaskQueue) -> None:
    first, second = await speculated(queue)
    assert await queue.fail(first, "odd", retryable=False) == Failed("superseded")
    assert (await queue.fail(second, "odd")).ending == "retry"
    claim = await claimed(queue)
    assert (claim.failures, claim.attempt) == (1, 3)
    assert await queue.fail(claim, "odd") == Failed("dead")


async def test_two_attempts_that_are_lost_together_are_one_death(queue: TaskQueue) -> None:
    first, second = await speculated(queue)
    assert await queue.lost(second) == Recovered("j", "0", "b", "superseded")
    assert await queue.lost(first) == Recovered("j", "0", "a", "returned")
    claim = await claimed(queue)
    assert (claim.deaths, claim.attempt) == (1, 3)
    assert await queue.lost(claim) == Recovered("j", "0", "w", "dead")


async def test_a_failure_while_the_second_attempt_is_not_fetched_leaves_it(queue: TaskQueue) -> None:
    await opened(queue)
    first = await claimed(queue, "a")
    await queue.speculate("j", "0")
    assert await queue.fail(first, "odd") == Failed("superseded")
    assert (await queue.job("j")).counts.queued == 1
    assert (await claimed(queue, "a")).failures == 0


async def test_a_deposed_leader_gives_no_second_attempts(queue: TaskQueue) -> None:
    await queue.submit(Job("j", MODEL, "t"), Written(b"new", "QUEUED"), CAPS)
    await queue.enqueue("j", [Task(task) for task in "01"], CAPS, 5)
    for _ in range(2):
        await claimed(queue)
    assert await queue.speculate("j", "0", 7)
    assert (await queue.record("j")).epoch == 7
    with pytest.raises(AbortedError, match="epoch of 7 or later, got 6"):
        await queue.speculate("j", "1", 6)
    assert not await queue.speculate("?", "1", 6)
    await queue.change("j", Written(b"end", "FAILED", keep_s=1), 1)
    assert not await queue.speculate("j", "1")
