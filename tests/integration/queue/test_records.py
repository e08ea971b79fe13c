from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.queue import Caps, Counts, Idle, Job, JobRecord, RetryPolicy, Task, TaskName, TaskQueue, Written
from tests.queues import CAPS, MODEL, Aged, claimed, opened

NEW = Written(b"\x00new", "QUEUED")
RUNNING = Written(b"running", "RUNNING", b"plan")
ENDED = Written(b"ended", "FAILED", keep_s=1000)


async def submitted(queue: TaskQueue, job: str = "j", tasks: int = 0, tenant: str = "t") -> None:
    """Submit a job with tasks 0, 1, ..."""
    await queue.submit(Job(job, MODEL, tenant), NEW, CAPS)
    await queue.enqueue(job, [Task(str(number), b"p%d" % number) for number in range(tasks)], CAPS)


async def told(queue: TaskQueue, job: str = "j", after: int = 0) -> list[tuple[int, str, str]]:
    """The events of a job."""
    return [(event.number, event.kind, event.detail or event.task) for event in await queue.events(job, after)]


async def test_a_job_is_submitted_once_and_later_calls_get_the_record_that_is_there(queue: TaskQueue) -> None:
    job = Job("j", MODEL, "t", 3, RetryPolicy(2, 4, 0.5, 8.0))
    first = JobRecord("j", b"\x00new", 1, 0)
    assert await queue.submit(job, NEW, CAPS) == first
    assert await queue.submit(replace(job, priority=4), Written(b"other", "X", b"plan"), CAPS) == first
    assert await queue.record("j") == first
    status = await queue.job("j")
    assert (status.job, status.state, status.event) == (job, "running", 1)
    assert await told(queue) == [(1, "state", "QUEUED")]


async def test_a_record_is_written_by_who_has_read_the_last_one(queue: TaskQueue) -> None:
    await submitted(queue)
    assert await queue.change("j", RUNNING, 1) == 2
    assert await queue.change("j", Written(b"late", "PAUSED"), 1) is None
    assert await queue.record("j") == JobRecord("j", b"running", 2, 0, b"plan")
    assert await queue.change("j", Written(b"more", "RUNNING"), 2) == 3
    assert await queue.record("j") == JobRecord("j", b"more", 3, 0, b"plan")


async def test_a_change_whose_answer_was_lost_can_be_repeated(queue: TaskQueue) -> None:
    await submitted(queue)
    assert [await queue.change("j", RUNNING, 1, 5) for _ in range(2)] == [2, 2]
    assert (await queue.record("j")).revision == 2
    assert await queue.change("j", replace(RUNNING, plan=b"another"), 1) is None
    assert await queue.change("j", replace(RUNNING, phase="PAUSED"), 1) is None
    assert len(await told(queue)) == 2


async def test_changes_of_phase_and_what_becomes_of_tasks_have_one_numbering(queue: TaskQueue) -> None:
    await submitted(queue, tasks=1)
    await queue.change("j", RUNNING, 1)
    await queue.finish(await claimed(queue), b"ref")
    await queue.change("j", replace(RUNNING, record=b"progress"), 2)
    await queue.pause("j")
    await queue.change("j", Written(b"p", "PAUSED"), 3)
    events = ["state QUEUED", "state RUNNING", "started w", "done 0", "paused ", "state PAUSED"]
    assert [f"{kind} {what}" for _, kind, what in await told(queue)] == events
    assert [number for number, _, _ in await told(queue)] == [1, 2, 3, 4, 5, 6]
    assert (await queue.events("j", 3))[0].counts == Counts(done=1)


async def test_a_deposed_leader_changes_nothing_and_hears_so(queue: TaskQueue) -> None:
    await submitted(queue)
    assert await queue.change("j", RUNNING, 1, 7) == 2
    with pytest.raises(AbortedError, match="expected a leader's epoch of 7 or later, got 6"):
        await queue.change("j", Written(b"old", "FAILED"), 2, 6)
    assert await queue.record("j") == JobRecord("j", b"running", 2, 7, b"plan")
    assert await queue.change("j", Written(b"the owner's", "PAUSED"), 2) == 3
    assert await queue.change("j", RUNNING, 3, 7) == 4
    assert await queue.change("j", RUNNING, 4, 1 << 40) == 5
    assert (await queue.record("j")).epoch == 1 << 40
    with pytest.raises(AbortedError):
        await queue.change("j", RUNNING, 5, (1 << 40) - 1)


async def test_a_deposed_leader_queues_nothing(queue: TaskQueue) -> None:
    await submitted(queue)
    assert await queue.enqueue("j", [Task("0")], CAPS, 7) == [None]
    assert (await queue.record("j")).epoch == 7
    with pytest.raises(AbortedError):
        await queue.change("j", RUNNING, 1, 6)
    with pytest.raises(AbortedError):
        await queue.enqueue("j", [Task("1")], CAPS, 6)
    assert await queue.tasks("j", ["1"]) == [None]
    assert await queue.enqueue("j", [Task("1")], CAPS) == [None]
    assert await queue.enqueue("j", [Task("2")], CAPS, 8) == [None]


async def test_what_a_job_has_left_is_not_queued_anew_once_it_has_ended(queue: TaskQueue) -> None:
    await submitted(queue, tasks=1)
    await queue.finish(await claimed(queue), b"")
    await queue.change("j", ENDED, 1, 7)
    await queue.clear("j")
    for epoch, error in ((6, AbortedError), (7, PreconditionError), (0, PreconditionError)):
        with pytest.raises(error):
            await queue.enqueue("j", [Task("0")], CAPS, epoch)
    assert await queue.fetch("w", [MODEL]) == Idle(None)


@pytest.mark.parametrize(
    "written",
    [
        Written(b"", "RUNNING"),
        Written(b"x", ""),
        Written(b"x" * (1 << 20) + b"x", "RUNNING"),
        Written(b"x", "RUNNING", b"x" * (1 << 20) + b"x"),
        Written(b"x", "FAILED", keep_s=-1),
        Written(b"x", "FAILED", keep_s=float("inf")),
    ],
)
async def test_what_is_no_record_is_refused(queue: TaskQueue, written: Written) -> None:
    with pytest.raises(InvalidInputError):
        await queue.submit(Job("j", MODEL, "t"), written, CAPS)
    await submitted(queue)
    with pytest.raises(InvalidInputError):
        await queue.change("j", written, 1)


async def test_a_job_without_a_record_has_none_to_change(queue: TaskQueue) -> None:
    await opened(queue)
    with pytest.raises(AlreadyExistsError, match="without a record"):
        await queue.submit(Job("j", MODEL, "t"), NEW, CAPS)
    for job in ("j", "?"):
        for call in (queue.record(job), queue.change(job, NEW, 1), queue.clear(job)):
            with pytest.raises(NotFoundError):
                await call
    assert await queue.records(["j", "?"]) == [None, None]
    assert await queue.records([]) == []
    assert (await queue.listed(), await queue.active()) == ([], [])


async def test_a_tenants_jobs_that_have_not_ended_are_capped(queue: TaskQueue) -> None:
    for job in "ab":
        await submitted(queue, job)
    with pytest.raises(ExhaustedError, match="2 jobs that have not ended, at most 2") as raised:
        await queue.submit(Job("c", MODEL, "t"), NEW, Caps(jobs=2))
    assert raised.value.retry_after_s
    assert await queue.records(["c"]) == [None]
    await queue.submit(Job("d", MODEL, "u"), NEW, Caps(jobs=1))
    assert (await queue.submit(Job("b", MODEL, "t"), NEW, Caps(jobs=2))).job == "b"
    await queue.change("a", ENDED, 1)
    await queue.clear("a")
    assert (await queue.submit(Job("c", MODEL, "t"), NEW, Caps(jobs=2))).job == "c"


async def test_of_a_tenants_jobs_that_have_ended_so_many_are_kept(queue: TaskQueue) -> None:
    caps = Caps(kept=3)
    for name in "abc":
        await queue.submit(Job(name, MODEL, "t"), NEW, caps)
    await queue.submit(Job("other", MODEL, "u"), NEW, caps)
    for name in ("b", "c", "other"):
        await queue.change(name, ENDED, 1)
        await queue.clear(name)
    await queue.submit(Job("d", MODEL, "t"), NEW, caps)
    assert await queue.expire() == []  # the oldest has not ended
    await queue.submit(Job("e", MODEL, "t"), NEW, caps)
    await queue.submit(Job("e", MODEL, "t"), NEW, caps)
    assert await queue.expire() == ["b"]
    await queue.submit(Job("f", MODEL, "t"), NEW, caps)
    assert sorted(await queue.expire()) == ["b", "c"]
    for name in "bc":
        await queue.delete(name)
    assert [found.job for found in await queue.listed("t")] == ["f", "e", "d", "a"]


async def test_jobs_are_listed_newest_first_in_pages_that_stay(queue: TaskQueue) -> None:
    for number in range(7):
        await submitted(queue, f"j{6 - number}", tenant="t" if number % 2 else "u")
    page = await queue.listed(limit=3)
    await submitted(queue, "new")
    await queue.delete(page[-1].job)
    rest = await queue.listed(below=page[-1].place)
    assert [one.job for one in page + rest] == [f"j{number}" for number in range(7)]
    assert [one.job for one in await queue.listed("t")] == ["new", "j1", "j3", "j5"]
    assert [one.job for one in await queue.listed("u", limit=2)] == ["j0", "j4"]
    assert await queue.listed("v") == []
    found = await queue.records(["new", "j2", "j0"])
    assert found == [JobRecord("new", NEW.record, 1, 0), None, JobRecord("j0", NEW.record, 1, 0)]


async def test_a_job_is_active_until_it_has_ended_and_was_cleared(queue: TaskQueue) -> None:
    for job in "ab":
        await submitted(queue, job)
    assert await queue.active() == ["a", "b"]
    with pytest.raises(PreconditionError, match="expected it to have ended to be cleared, it is QUEUED"):
        await queue.clear("a")
    await queue.change("a", ENDED, 1)
    assert await queue.active() == ["a", "b"]
    await queue.clear("a")
    await queue.clear("a")
    assert await queue.active() == ["b"]
    await queue.change("a", RUNNING, 2)
    assert await queue.active() == ["a", "b"]


async def test_a_cleared_job_keeps_its_record_its_events_and_its_dead_letters(queue: TaskQueue) -> None:
    await submitted(queue)
    await queue.enqueue("j", [Task(name, name.encode(), dedupe=name) for name in "abc"], CAPS)
    await queue.finish(await claimed(queue), b"ref")
    await queue.fail(await claimed(queue), "odd", retryable=False)
    await queue.cancel("j")
    await queue.change("j", ENDED, 1)
    await queue.clear("j")
    assert [task and task.task for task in await queue.tasks("j", list("abc"))] == [None, "b", None]
    assert (await queue.job("j")).counts == Counts(done=1, dead=1, cancelled=1)
    assert [letter.task for letter in await queue.dead_letters("j")] == ["b"]
    assert (await queue.record("j")).record == b"ended"
    assert len(await told(queue)) == 8
    await submitted(queue, "k")
    again = await queue.enqueue("k", [Task(name, dedupe=name) for name in "abc"], CAPS)
    assert [holder and holder.job for holder in again] == [None, "j", None]


async def test_dead_letters_of_a_job_that_is_revived_are_executed(aged: Aged) -> None:
    queue = aged.queue
    await submitted(queue, tasks=2)
    await queue.finish(await claimed(queue), b"ref")
    await queue.fail(await claimed(queue), "odd", retryable=False)
    await queue.change("j", ENDED, 1)
    await queue.clear("j")
    with pytest.raises(PreconditionError):
        await queue.retry_dead("j", "1")
    await queue.change("j", RUNNING, 2)
    await queue.retry_dead("j", "1")
    claim = await claimed(queue)
    assert (claim.task, claim.payload) == ("1", b"p1")
    assert await queue.finish(claim, b"ref")
    assert (await queue.job("j")).counts == Counts(done=2)
    await aged.advance(2000)
    assert await queue.expire() == []


async def test_an_ended_job_is_closed_after_its_time_and_told_until_it_is_deleted(aged: Aged) -> None:
    queue = aged.queue
    for job, keep_s in (("a", 500), ("b", 1000), ("c", None)):
        await submitted(queue, job)
        await queue.change(job, Written(b"x", "FAILED", keep_s=keep_s), 1)
    assert await queue.expire() == []
    await aged.advance(700)
    assert await queue.expire() == ["a"]
    await aged.advance(700)
    assert (await queue.expire(), await queue.expire(1)) == (["a", "b"], ["a"])
    for call in (queue.change("a", RUNNING, 2), queue.resume("a"), queue.enqueue("a", [Task("0")], CAPS)):
        with pytest.raises((NotFoundError, PreconditionError)):
            await call
    assert (await queue.record("a")).record == b"x"
    assert [kind for _, kind, _ in await told(queue, "a", 2)] == ["deleting"]
    await queue.delete("a")
    assert await queue.expire() == ["b"]
    assert await queue.records(["a"]) == [None]
    assert [one.job for one in await queue.listed()] == ["c", "b"]
    await submitted(queue, "a")
    assert (await queue.record("a")).revision == 1


async def test_whoever_leads_hears_of_new_jobs(queue: TaskQueue) -> None:
    await submitted(queue, "a")
    await submitted(queue, "b")
    await submitted(queue, "a")
    assert await queue.replies("", 5) == [TaskName("a", ""), TaskName("b", "")]
    assert await queue.replies("", 0.01) == []
