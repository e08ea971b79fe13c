"""What the queue is told, where that is at its bounds."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidInputError
from modelyard.jobs.poison import Step, Verdict
from modelyard.jobs.tasks import Outcome, Shards, TaskSpec
from modelyard.metrics import Journal
from modelyard.queue import Claim
from modelyard.queue.memory import MemoryQueue
from modelyard.queue.records import MAX_REASON
from modelyard_worker.jobs.assignment import Failed, Lost
from modelyard_worker.jobs.endings import Endings
from modelyard_worker.jobs.usage import Usage
from tests.pulling import WORKER, outcome, status, submit

FIRST = 10**12
LARGEST = TaskSpec(FIRST, FIRST + 1000, Shards(1022, 1023, 1024))


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def endings(queue: MemoryQueue) -> Endings:
    return Endings(WORKER, queue, Usage(Journal()))


async def claimed(queue: MemoryQueue, task: TaskSpec) -> Claim:
    await submit(queue, "wait", [task.id])
    claim = await queue.fetch(WORKER, ["m@1"])
    assert isinstance(claim, Claim)
    return claim


async def test_as_many_rows_as_can_fail_and_any_reason_fit_into_a_result(queue: MemoryQueue, endings: Endings) -> None:
    claim = await claimed(queue, LARGEST)
    every_second = tuple(range(FIRST + 1, FIRST + 1000, 2))
    failed = Failed(claim.token, "\N{PILE OF POO}" * 10_000, 1.0, every_second, permanent=True)
    assert await endings.failed(claim, LARGEST, failed, 3) == "split"
    found = await outcome(queue, LARGEST.id)
    assert found is not None
    assert (len(found.parts), len(found.reason)) == (499, MAX_REASON)


async def test_parts_that_do_not_have_all_rows_are_refused(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 4)
    claim = await claimed(queue, task)
    with pytest.raises(InvalidInputError, match="each of its rows once"):
        await endings.resolve(claim, task, Verdict(Step.SPLIT, (TaskSpec(0, 2),)), "no")
    assert await outcome(queue) is None


async def test_what_nobody_foresaw_is_tried_again(queue: MemoryQueue, endings: Endings) -> None:
    claim = await claimed(queue, TaskSpec(0, 4))
    assert await endings.given_up(claim, "internal error") == "retry"


async def test_what_may_have_killed_is_set_apart_and_nothing_is_counted(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 10)
    claim = await claimed(queue, task)
    assert await endings.lost(claim, task, Lost(claim.token, "the runner ended", 3, 5)) == "split"
    found = await outcome(queue, task.id)
    assert found is not None
    assert [part.id for part in found.parts] == ["r0-3", "r3-5s", "r5-10"]


async def test_where_it_is_not_known_what_has_killed_it_is_a_death(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 4)
    claim = await claimed(queue, task)
    assert await endings.lost(claim, task, Lost(claim.token, "the runner ended", 0, 4)) == "lost"
    found = await status(queue)
    assert (found.state, found.deaths) == ("open", 1)


async def test_what_cannot_be_read_at_all_is_one_dead_letter(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 4)
    claim = await claimed(queue, task)
    failed = Failed(claim.token, "expected 100 rows, as planned; got 99", 0.0, permanent=True)
    assert await endings.failed(claim, task, failed, 3) == "dead"
    assert [(letter.task, letter.reason) for letter in await queue.dead_letters("j")] == [(task.id, failed.reason)]


async def test_who_is_stale_hears_so_whatever_has_happened(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 4)
    claim = await claimed(queue, task)
    await queue.recover_from(WORKER)
    failed = Failed(claim.token, "below 0", 1.0, permanent=True)
    said = [
        await endings.failed(claim, task, failed, 3),
        await endings.given_up(claim, "no"),
        await endings.lost(claim, task, Lost(claim.token, "no")),
        await endings.lost(claim, task, Lost(claim.token, "no", 1, 2)),
        await endings.released(claim, "no"),
        await endings.hand_back(claim),
    ]
    assert said == ["stale"] * 6
    assert await outcome(queue) is None


async def test_results_name_who_made_them(queue: MemoryQueue, endings: Endings) -> None:
    task = TaskSpec(0, 4)
    claim = await claimed(queue, task)
    await endings.resolve(claim, task, Verdict(Step.SPLIT, (TaskSpec(0, 1), TaskSpec(1, 4))), "why", 2.5)
    assert await outcome(queue) == Outcome(2.5, WORKER, parts=(TaskSpec(0, 1), TaskSpec(1, 4)), reason="why")
