from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import InvalidInputError
from modelyard.queue import Counts, Failed, Idle, Job, Recovered, RetryPolicy, Task, TaskName, TaskQueue, TaskStatus
from tests.queues import CAPS, LEASE_S, MODEL, Aged, claimed, opened


async def swept(aged: Aged) -> list[Recovered]:
    """Pass time until leases that nobody extends have run out; look all the while, as upkeep does."""
    found = []
    for _ in range(4):
        found += await aged.queue.recover(LEASE_S)
        await aged.advance(0.4 * LEASE_S)
    return found + await aged.queue.recover(LEASE_S)


async def test_a_task_is_claimed_once_and_finished(queue: TaskQueue) -> None:
    await opened(queue)
    claim = await claimed(queue)
    assert (claim.job, claim.task, claim.tenant, claim.priority, claim.attempt) == ("j", "0", "t", 5, 1)
    assert await queue.fetch("v", [MODEL]) == Idle(None)
    assert (await queue.job("j")).counts == Counts(in_flight=1)
    assert await queue.finish(claim, b"ref")
    assert (await queue.job("j")).counts == Counts(done=1)
    assert await queue.tasks("j", ["0", "?"]) == [TaskStatus("0", "done", b"ref", attempts=1), None]


async def test_finishing_again_is_told_true_and_changes_nothing(queue: TaskQueue) -> None:
    await opened(queue)
    claim = await claimed(queue)
    assert [await queue.finish(claim, result) for result in (b"one", b"two")] == [True, True]
    found = (await queue.tasks("j", ["0"]))[0]
    assert found is not None
    assert found.result == b"one"
    assert (await queue.job("j")).counts == Counts(done=1)


async def test_another_token_can_do_nothing(queue: TaskQueue) -> None:
    await opened(queue)
    claim = await claimed(queue)
    stale = replace(claim, token="w/other")
    assert not await queue.finish(stale, b"")
    assert await queue.fail(stale, "no") == Failed("stale")
    assert not await queue.release(stale)
    assert await queue.extend("w", [claim, stale]) == [stale]
    assert await queue.extend("v", [claim]) == [claim]
    assert (await queue.job("j")).counts == Counts(in_flight=1)


async def test_a_result_is_a_reference(queue: TaskQueue) -> None:
    await opened(queue)
    with pytest.raises(InvalidInputError, match="65536"):
        await queue.finish(await claimed(queue), b"x" * 65537)


async def test_a_lease_that_is_extended_is_kept_and_one_that_is_not_is_taken_back(aged: Aged) -> None:
    queue = aged.queue
    await opened(queue, tasks=2)
    kept, lost = await claimed(queue, "good"), await claimed(queue, "stopped")
    found = []
    for _ in range(4):
        found += await queue.recover(LEASE_S)
        await aged.advance(0.4 * LEASE_S)
        assert await queue.extend("good", [kept]) == []
    found += await queue.recover(LEASE_S)
    assert found == [Recovered("j", "1", "stopped", "returned")]
    again = await claimed(queue, "good")
    assert (again.task, again.attempt, again.deaths, again.failures) == ("1", 2, 1, 0)
    assert not await queue.finish(lost, b"stale")
    assert await queue.extend("stopped", [lost]) == [lost]
    assert await queue.finish(again, b"ref")


async def test_nothing_is_taken_back_before_someone_has_looked_for_a_lease(aged: Aged) -> None:
    await opened(aged.queue)
    claim = await claimed(aged.queue)
    for _ in range(3):  # nobody could reach the queue for so long
        await aged.advance(5 * LEASE_S)
        assert await aged.queue.recover(LEASE_S) == []
    await aged.advance(0.4 * LEASE_S)
    assert await aged.queue.extend("w", [claim]) == []
    assert len(await swept(aged)) == 1


async def test_who_looks_late_again_and_again_takes_back_after_all(aged: Aged) -> None:
    await opened(aged.queue)
    await claimed(aged.queue)
    found = []
    for _ in range(3):
        found.append(await aged.queue.recover(LEASE_S))
        await aged.advance(0.9 * LEASE_S)
    assert found == [[], [], [Recovered("j", "0", "w", "returned")]]


async def test_what_was_extended_before_a_gap_has_time_to_be_extended_after_it(aged: Aged) -> None:
    queue = aged.queue
    await opened(queue, tasks=2)
    kept = await claimed(queue, "good")
    await claimed(queue, "stopped")
    for _ in range(3):
        assert await queue.recover(LEASE_S) == []
        await aged.advance(0.3 * LEASE_S)
        assert await queue.extend("good", [kept]) == []
    await aged.advance(0.2 * LEASE_S)
    found = await queue.recover(LEASE_S)
    await aged.advance(0.9 * LEASE_S)  # nobody could reach the queue for so long
    found += await queue.recover(LEASE_S)
    assert [one.owner for one in found] == ["stopped"]
    assert await queue.extend("good", [kept]) == []


async def test_what_a_dead_worker_had_is_taken_back_at_once_and_fetched_first(queue: TaskQueue) -> None:
    await opened(queue, tasks=4)
    dead, live = [await claimed(queue, "dead"), await claimed(queue, "dead")], await claimed(queue, "live")
    found = await queue.recover_from("dead")
    assert found == [Recovered("j", task, "dead", "returned") for task in "01"]
    assert await queue.recover_from("dead") == []
    assert [(await claimed(queue)).task for _ in range(3)] == ["0", "1", "3"]
    assert [await queue.finish(claim, b"") for claim in (*dead, live)] == [False, False, True]


async def test_lost_workers_are_counted_apart_from_failures_and_bury_a_task(queue: TaskQueue) -> None:
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(max_failures=2, max_deaths=2, first_s=0)))
    await queue.enqueue("j", [Task("0")], CAPS)
    assert (await queue.fail(await claimed(queue), "odd")).ending == "retry"
    await claimed(queue, "a")
    assert [one.outcome for one in await queue.recover_from("a")] == ["returned"]
    claim = await claimed(queue, "b")
    assert (claim.failures, claim.deaths) == (1, 1)
    assert [one.outcome for one in await queue.recover_from("b")] == ["dead"]
    letter = (await queue.dead_letters("j"))[0]
    assert (letter.task, letter.reason, letter.failures, letter.deaths) == ("0", "the worker was lost 2 times", 1, 2)
    assert await queue.fetch("w", [MODEL]) == Idle(None)


async def test_a_failure_is_retried_later_each_time_and_then_buried(aged: Aged) -> None:
    queue = aged.queue
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(3, 3, first_s=1000, max_s=1500)))
    await queue.enqueue("j", [Task("0")], CAPS)
    for low_s, high_s in ((500, 1000), (750, 1500)):
        failed = await queue.fail(await claimed(queue), "odd")
        assert failed.ending == "retry"
        assert low_s <= failed.delay_s <= high_s
        idle = await queue.fetch("w", [MODEL])
        assert isinstance(idle, Idle)
        assert idle.due_s == pytest.approx(failed.delay_s, abs=60)
        assert (await queue.job("j")).counts == Counts(delayed=1)
        await aged.advance(high_s)
    assert await queue.fail(await claimed(queue), "odd again") == Failed("dead")
    assert [letter.reason for letter in await queue.dead_letters("j")] == ["odd again"]
    assert (await queue.job("j")).counts == Counts(dead=1)


async def test_what_cannot_be_retried_is_buried_at_once(queue: TaskQueue) -> None:
    await opened(queue)
    assert await queue.fail(await claimed(queue), "bad input", retryable=False) == Failed("dead")


async def test_a_released_task_is_fetched_next_and_nothing_is_held_against_it(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    claim = await claimed(queue)
    assert await queue.release(claim)
    assert not await queue.finish(claim, b"")
    again = await claimed(queue)
    assert (again.task, again.failures, again.deaths) == ("0", 0, 0)


async def test_tasks_in_flight_are_told_with_their_age_and_who_has_them(aged: Aged) -> None:
    await opened(aged.queue, tasks=3)
    await claimed(aged.queue, "v")
    await aged.advance(1000)
    await claimed(aged.queue)
    old, young = await aged.queue.running("j", 5)
    assert (old.task, young.task) == ("0", "1")
    assert 1000 <= old.age_s < 1100
    assert young.age_s < 100
    assert len(await aged.queue.running("j", 1)) == 1
    assert await aged.queue.running("?", 1) == []
    assert [(one.attempts, one.workers) for one in (old, young)] == [(1, ("v",)), (1, ("w",))]
    await aged.queue.finish(await claimed(aged.queue), b"")
    assert await aged.queue.speculate("j", "0")
    waiting = (await aged.queue.running("j", 1))[0]
    await claimed(aged.queue, "a")
    both = (await aged.queue.running("j", 1))[0]
    assert [(one.attempts, one.workers) for one in (waiting, both)] == [(2, ("v",)), (2, ("a", "v"))]


async def test_a_claim_whose_runner_died_is_taken_back_as_a_death_and_its_workers_others_stay(queue: TaskQueue) -> None:
    await opened(queue, tasks=3)
    dead, other = await claimed(queue), await claimed(queue)
    assert await queue.lost(dead) == Recovered("j", "0", "w", "returned")
    assert await queue.lost(dead) is None
    assert not await queue.finish(dead, b"stale")
    assert await queue.extend("w", [dead, other]) == [dead]
    again = await claimed(queue)
    assert (again.task, again.deaths, again.failures, again.attempt) == ("0", 1, 0, 2)
    assert (await queue.job("j")).counts == Counts(queued=1, in_flight=2)
    assert [await queue.finish(claim, b"") for claim in (again, other)] == [True, True]
    assert [(one.kind, one.detail) for one in await queue.events("j", 3)][:1] == [("recovered", "w")]


async def test_claims_that_are_lost_bury_a_task_or_leave_it_to_the_other_attempt(queue: TaskQueue) -> None:
    await queue.open(Job("j", MODEL, "t", 5, RetryPolicy(max_deaths=2)))
    await queue.enqueue("j", [Task("0"), Task("1")], CAPS)
    first, second = await claimed(queue), await claimed(queue)
    await queue.speculate("j", "1")
    twin = await claimed(queue, "v")
    assert await queue.lost(second) == Recovered("j", "1", "w", "superseded")
    assert await queue.finish(twin, b"")
    await queue.lost(first)
    assert await queue.lost(await claimed(queue)) == Recovered("j", "0", "w", "dead")
    assert [letter.deaths for letter in await queue.dead_letters("j")] == [2]


async def test_a_replica_hears_of_what_it_waits_for(queue: TaskQueue) -> None:
    await opened(queue, tasks=0)
    await queue.enqueue("j", [Task("a", reply="r1"), Task("b", reply="r1"), Task("c")], CAPS)
    for _ in range(3):
        await queue.finish(await claimed(queue), b"")
    assert await queue.replies("r1", 5) == [TaskName("j", "a"), TaskName("j", "b")]
    assert await queue.replies("r1", 0.01) == []
