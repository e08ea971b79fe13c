from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import (
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.queue import Caps, Idle, Job, RetryPolicy, Task, TaskName, TaskQueue
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


async def test_what_exceeds_a_cap_is_refused_whole(queue: TaskQueue) -> None:
    await opened(queue, tasks=2)
    await opened(queue, "other", 1)
    for caps, what in ((Caps(queued=4), "3 tasks queued"), (Caps(stream=4), "3 tasks in the stream")):
        with pytest.raises(ExhaustedError, match=what) as raised:
            await queue.enqueue("j", [Task("2"), Task("3")], caps)
        assert raised.value.retry_after_s
    await claimed(queue)
    with pytest.raises(ExhaustedError, match="1 tasks in flight"):
        await queue.enqueue("j", [Task("2")], Caps(in_flight=1))
    assert await queue.enqueue("j", [Task("0")], Caps(0, 0, 0)) == [TaskName("j", "0")]
    assert await queue.tasks("j", ["2", "3"]) == [None, None]


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
