from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelyard.errors import (
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.queue import Caps, Claim, Idle, Job, RetryPolicy, Task, TaskName, TaskQueue
from tests.queues import CAPS, MODEL, claimed, opened


async def test_a_job_is_opened_once_and_not_as_another(queue: TaskQueue) -> None:
    job = Job("j", MODEL, "t", 3, RetryPolicy(2, 4, 0.5, 8.0))
    await queue.open(job)
    await queue.open(job)
    status = await queue.job("j")
    assert (status.job, status.state, status.event) == (job, "running", 1)
    with pytest.raises(AlreadyExistsError):
        await queue.open(replace(job, priority=4))


@pytest.mark.parametrize(
    "job",
    [
        Job("", MODEL, "t"),
        Job("j", "a:b@1", "t"),
        Job("j", MODEL, "t:u"),
        Job("j", MODEL, "t", 10),
        Job("j", MODEL, "t", 5, RetryPolicy(max_failures=0)),
        Job("j", MODEL, "t", 5, RetryPolicy(first_s=2, max_s=1)),
    ],
)
async def test_a_malformed_job_is_refused(queue: TaskQueue, job: Job) -> None:
    with pytest.raises(InvalidInputError):
        await queue.open(job)


@pytest.mark.parametrize(
    "task",
    [Task("a/b"), Task("a", reply="x y"), Task("a", dedupe="x:y"), Task("a", cost=0), Task("a", b"x" * (1 << 21))],
)
async def test_a_malformed_task_is_refused(queue: TaskQueue, task: Task) -> None:
    await opened(queue, tasks=0)
    with pytest.raises(InvalidInputError):
        await queue.enqueue("j", [task], CAPS)


async def test_enqueueing_again_adds_nothing(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    again = await queue.enqueue("j", [Task("0"), Task("2"), Task("2")], CAPS)
    assert again == [TaskName("j", "0"), None, TaskName("j", "2")]
    assert (await queue.job("j")).counts.queued == 3


async def test_a_dedupe_key_is_held_by_one_task_of_a_tenant(queue: TaskQueue) -> None:
    for job, tenant in (("a", "t"), ("b", "t"), ("c", "u")):
        await opened(queue, job, 0, tenant)
    holders = [await queue.enqueue(job, [Task(f"of-{job}", dedupe="key")], CAPS) for job in "abc"]
    assert holders == [[None], [TaskName("a", "of-a")], [None]]
    assert await queue.enqueue("a", [Task("x", dedupe="k"), Task("y", dedupe="k")], CAPS) == [None, TaskName("a", "x")]
    await queue.delete("a")
    assert await queue.enqueue("b", [Task("of-b", dedupe="key")], CAPS) == [None]


async def test_as_much_is_queued_from_the_front_as_a_cap_leaves_room_for(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    await opened(queue, "other", 1)
    some = [Task(name) for name in "a1bcd"]
    assert await queue.enqueue("j", some, Caps(queued=5)) == [None, TaskName("j", "1"), None]
    assert await queue.enqueue("j", some, Caps(stream=6)) == [TaskName("j", name) for name in "a1b"] + [None]
    assert [status and status.task for status in await queue.tasks("j", list("abcd"))] == ["a", "b", "c", None]
    assert (await queue.job("j")).counts.queued == 5


async def test_where_a_cap_leaves_no_room_at_all_it_is_named(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    await opened(queue, "other", 1)
    await queue.fail(await claimed(queue), "odd")
    for caps, what in ((Caps(queued=3), "3 tasks waiting"), (Caps(stream=2), "2 tasks in the stream")):
        with pytest.raises(ExhaustedError, match=what) as raised:
            await queue.enqueue("j", [Task("0"), Task("2")], caps)
        assert raised.value.retry_after_s
    assert await queue.enqueue("j", [Task("0")], Caps(0, 0, 0)) == [TaskName("j", "0")]
    assert await queue.enqueue("j", [], Caps(0, 0, 0)) == []
    assert await queue.tasks("j", ["2"]) == [None]


async def test_who_has_as_much_in_flight_as_it_may_waits_and_others_go_on(queue: TaskQueue) -> None:
    caps = Caps(in_flight=2)
    for job, tenant, model in (("a", "t", MODEL), ("b", "t", "other@1"), ("c", "u", MODEL)):
        await queue.open(Job(job, model, tenant))
        await queue.enqueue(job, [Task(task) for task in "0123"], caps)
    first = await claimed(queue)
    other = await queue.fetch("w", ["other@1"])
    assert (first.job, isinstance(other, Claim)) == ("a", True)
    assert [(await claimed(queue)).job for _ in range(2)] == ["c", "c"]
    assert await queue.fetch("w", [MODEL, "other@1"]) == Idle(None)
    waiting = asyncio.create_task(queue.wait([MODEL], 20))
    await asyncio.sleep(0)
    await queue.finish(first, b"")
    assert await waiting
    assert (await claimed(queue)).job == "a"
    assert await queue.fetch("w", [MODEL]) == Idle(None)
    await queue.enqueue("b", [Task("4")], replace(caps, in_flight=3))
    assert (await claimed(queue)).job == "a"
    assert await queue.fetch("w", [MODEL, "other@1"]) == Idle(None)


async def test_one_that_waits_for_its_cap_has_its_share_afterwards_and_no_more(queue: TaskQueue) -> None:
    for tenant, cap in (("t", 1), ("u", 100)):
        await queue.open(Job(tenant, MODEL, tenant))
        await queue.enqueue(tenant, [Task(str(number)) for number in range(30)], Caps(in_flight=cap))
    claims = [await claimed(queue) for _ in range(12)]
    assert [claim.tenant for claim in claims] == ["t", *["u"] * 11]
    served = []
    await queue.finish(claims[0], b"")
    for _ in range(8):
        claims.append(await claimed(queue))
        served.append(claims[-1].tenant)
        await queue.finish(claims[-1], b"")
    assert abs(served.count("t") - served.count("u")) <= 2


async def test_a_dedupe_key_ends_with_its_task(queue: TaskQueue) -> None:
    await opened(queue, tasks=0)
    await opened(queue, "k", 0)
    await queue.enqueue("j", [Task(task, dedupe=task) for task in "abc"], CAPS)
    await queue.finish(await claimed(queue), b"")
    await queue.fail(await claimed(queue), "odd", retryable=False)
    await queue.cancel("j")
    again = await queue.enqueue("k", [Task(task, dedupe=task) for task in "abc"], CAPS)
    assert again == [None, TaskName("j", "b"), None]
    await queue.delete("j")
    assert await queue.enqueue("k", [Task("b", dedupe="b")], CAPS) == [None]


async def test_a_cap_is_a_tenants_own(queue: TaskQueue) -> None:
    await opened(queue, tasks=3)
    await opened(queue, "other", 0, "u")
    assert await queue.enqueue("other", [Task("0")], Caps(queued=1)) == [None]


async def test_nothing_is_added_to_an_unknown_or_cancelled_job(queue: TaskQueue) -> None:
    with pytest.raises(NotFoundError):
        await queue.enqueue("j", [Task("0")], CAPS)
    await opened(queue)
    await queue.cancel("j")
    with pytest.raises(PreconditionError):
        await queue.enqueue("j", [Task("9")], CAPS)


async def test_tasks_of_another_model_are_not_fetched(queue: TaskQueue) -> None:
    await opened(queue)
    assert await queue.fetch("w", ["digits@2"]) == Idle(None)
    assert (await claimed(queue)).payload == b"p0"
