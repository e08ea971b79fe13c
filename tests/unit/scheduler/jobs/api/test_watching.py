from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelyard.errors import InvalidInputError, NotFoundError, UnavailableError
from modelyard.jobs.job import EventKind, Progress
from modelyard.jobs.planning import Plan, Segment
from modelyard.jobs.spec import Artifact, JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import Measurement, TrainingProgress
from modelyard_scheduler.jobs.api import watching
from tests.unit.jobs.submitted import DIGEST, SPEC
from tests.unit.scheduler.jobs.accepted import WORKER, Desk
from tests.unit.scheduler.jobs.watcher import Watcher
from tests.waiting import eventually

PARTS = (TaskSpec(10, 15, suspect=True), TaskSpec(15, 20, suspect=True))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    found = Desk()
    yield found
    await found.watching.close()


async def running(desk: Desk) -> str:
    """A job with two tasks of ten rows."""
    job = (await desk.submit()).id
    await desk.becomes(job, state=JobState.PLANNING)
    await desk.plan(job, Plan(20, (Segment(0, 20, 10),)))
    await desk.becomes(job, state=JobState.RUNNING)
    return job


async def done(desk: Desk, job: str, outcome: Outcome) -> None:
    await desk.finish(await desk.claim(await desk.jobs.get(job)), outcome)


async def test_from_now_on_until_the_end(desk: Desk) -> None:
    job = await running(desk)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    await done(desk, job, Outcome(1.0, "w1"))
    await done(desk, job, Outcome(1.0, "w2", parts=PARTS, reason="row 12 raised"))
    await desk.becomes(job, state=JobState.FINISHING)
    await desk.becomes(job, state=JobState.SUCCEEDED, end_time_s=9.0)
    await asyncio.wait_for(watcher.reading, 60)
    told = [event for event in watcher.told if event[0] != "TASK_STARTED"]
    assert told == [
        ("SNAPSHOT", "RUNNING"),
        ("TASK_DONE", "r0-10"),
        ("TASK_SPLIT", "r10-20"),
        ("STATE", "FINISHING"),
        ("STATE", "SUCCEEDED"),
    ]
    one, two = (event.task for event in watcher.events if event.kind in {EventKind.TASK_DONE, EventKind.TASK_SPLIT})
    assert one and two  # noqa: PT018
    assert (one.begin, one.end, one.worker, one.reason) == (0, 10, "w1", "")
    assert (two.begin, two.end, two.worker, two.reason) == (10, 20, "w2", "row 12 raised")
    assert watcher.events[-1].job == await desk.jobs.get(job)
    assert [event.event for event in watcher.events] == sorted({event.event for event in watcher.events})


async def test_it_goes_on_after_any_event_with_what_the_first_watch_was_told(desk: Desk) -> None:
    job = await running(desk)
    await done(desk, job, Outcome(1.0, "w1"))
    await desk.becomes(job, state=JobState.FAILED, reason="too late", end_time_s=9.0)
    last = (await desk.queue.job(job)).event
    whole = Watcher(desk, job, 1)
    await whole.reading
    assert whole.told[:2] == [("STATE", "PLANNING"), ("STATE", "RUNNING")]
    assert whole.told[-1] == ("STATE", "FAILED")
    planning = whole.events[0].job
    assert planning
    assert (planning.reason, planning.end_time_s) == ("", 0.0)
    for after in range(2, last + 1):
        again = Watcher(desk, job, after)
        await again.reading
        numbered = [event for event in again.events if event.kind is not EventKind.PROGRESS]
        assert numbered == [event for event in whole.events if event.event > after]


async def test_a_job_that_has_ended_is_told_once(desk: Desk) -> None:
    job = (await desk.submit()).id
    await desk.becomes(job, state=JobState.CANCELLED)
    watcher = Watcher(desk, job)
    await watcher.reading
    assert watcher.told == [("SNAPSHOT", "CANCELLED")]


@pytest.mark.parametrize("after", [1, 99])
async def test_after_a_gap_it_begins_anew(desk: Desk, after: int) -> None:
    job = await running(desk)
    del desk.queue.jobs[job].events[:2]
    watcher = Watcher(desk, job, after)
    await watcher.has(EventKind.SNAPSHOT)
    assert watcher.told == [("SNAPSHOT", "RUNNING")]
    assert watcher.events[0].event == 3
    await desk.becomes(job, state=JobState.CANCELLED)
    await watcher.reading
    assert watcher.told[1:] == [("STATE", "CANCELLED")]


async def test_progress_is_told_once_in_a_while_with_the_number_of_the_event_before(desk: Desk) -> None:
    job = await running(desk)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    await desk.becomes(job, progress=Progress(20, 5))
    looks = desk.watching._looks
    first = set(looks.values())
    await eventually(lambda: not first & set(looks.values()))
    assert watcher.told == [("SNAPSHOT", "RUNNING")]  # the clock stands still
    desk.now_s += 1.0
    await watcher.has(EventKind.PROGRESS)
    told = watcher.events[-1]
    assert told.job
    assert (told.event, told.time_s, told.job.progress) == (3, 1001.0, Progress(20, 5))
    desk.now_s += 1.0
    second = set(looks.values())
    await eventually(lambda: not second & set(looks.values()))
    assert len(watcher.events) == 2
    watcher.reading.cancel()


async def test_what_befalls_tasks(desk: Desk) -> None:
    job = await running(desk)
    claim = await desk.claim(await desk.jobs.get(job))
    await desk.queue.fail(claim, "it raised")
    other = await desk.claim(await desk.jobs.get(job))
    await desk.queue.lost(other)
    again = await desk.claim(await desk.jobs.get(job))
    await desk.queue.fail(again, "it raised for good", retryable=False)
    await desk.queue.retry_dead(job, again.task)
    await desk.becomes(job, state=JobState.CANCELLED)
    watcher = Watcher(desk, job, 3)
    await watcher.reading
    told = [event for event in watcher.events if event.kind is not EventKind.TASK_STARTED]
    assert [
        (event.kind.value, event.task.id, event.task.worker, event.task.reason) for event in told if event.task
    ] == [
        ("TASK_RETRY", "r0-10", "", "it raised"),
        ("TASK_RECOVERED", "r10-20", WORKER, ""),
        ("TASK_DEAD", "r10-20", "", "it raised for good"),
        ("TASK_REVIVED", "r10-20", "", ""),
    ]


async def test_all_who_are_at_the_same_event_share_a_look(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await running(desk)
    asked = 0
    events = desk.queue.events

    async def counting(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return await events(*arguments)

    monkeypatch.setattr(desk.queue, "events", counting)
    watchers = [Watcher(desk, job) for _ in range(20)]
    for watcher in watchers:
        await watcher.has(EventKind.SNAPSHOT)
    watchers.pop().reading.cancel()
    await desk.becomes(job, state=JobState.CANCELLED)
    await asyncio.gather(*(watcher.reading for watcher in watchers))
    assert {tuple(watcher.told) for watcher in watchers} == {(("SNAPSHOT", "RUNNING"), ("STATE", "CANCELLED"))}
    assert asked <= 3
    assert not desk.watching._looks


async def test_when_too_many_wait_others_come_back_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_WAITING", 0)
    job = await running(desk)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    await desk.becomes(job, state=JobState.CANCELLED)
    await watcher.reading
    assert watcher.told[-1] == ("STATE", "CANCELLED")


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("before", [True, False])
async def test_an_end_that_comes_while_it_is_looked_at_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, after: int, before: bool
) -> None:
    job = await running(desk)
    read = desk.records.read

    async def ending(name: str) -> Any:
        monkeypatch.setattr(desk.records, "read", read)
        found = await read(name)
        await desk.becomes(name, state=JobState.CANCELLED)
        return await read(name) if before else found

    monkeypatch.setattr(desk.records, "read", ending)
    watcher = Watcher(desk, job, after)
    await watcher.reading
    assert watcher.told[-1] == ("STATE", "CANCELLED")


async def test_a_look_that_fails_when_all_have_gone_is_nobodys(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await running(desk)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    await eventually(lambda: desk.watching._looks)
    [look] = desk.watching._looks.values()
    watcher.reading.cancel()
    await asyncio.wait([watcher.reading])
    await desk.queue.delete(job)
    await asyncio.wait([look])
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    del look
    gc.collect()
    assert not desk.watching._looks
    assert not complaints


async def test_what_cannot_be_watched(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="no job job-9"):
        await Watcher(desk, "job-9").reading
    job = await running(desk)
    with pytest.raises(InvalidInputError, match="after_event: expected the number of an event, got -1"):
        await Watcher(desk, job, -1).reading
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)

    async def away(*_: Any) -> Any:
        raise UnavailableError("redis: away")

    monkeypatch.setattr(desk.queue, "events", away)
    with pytest.raises(UnavailableError, match="redis: away"):
        await watcher.reading


async def test_a_job_that_is_forgotten_ends_the_watch(desk: Desk) -> None:
    job = await running(desk)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    await desk.queue.delete(job)
    with pytest.raises(NotFoundError):
        await watcher.reading


async def test_a_training_tells_its_values_once_and_why_it_waits(desk: Desk) -> None:
    training = TrainingSpec("new", Code(Artifact(DIGEST), "recipe"), TrainingData(SPEC.inference.dataset), epochs=1)
    job = (await desk.submit(spec=JobSpec(training=training))).id
    await desk.becomes(job, state=JobState.PLANNING)
    await desk.becomes(job, state=JobState.RUNNING)
    watcher = Watcher(desk, job)
    await watcher.has(EventKind.SNAPSHOT)
    one, two, checked = (Measurement(1, {"loss": 2.0}), Measurement(2, {"loss": 1.0}), Measurement(1, {"val": 3.0}))
    changes: tuple[dict[str, object], ...] = (
        {"reason": "waits for workers"},
        {"reason": "", "measurements": (one, checked), "progress": Progress(training=TrainingProgress(1))},
        {"measurements": (two, checked), "progress": Progress(training=TrainingProgress(2))},
    )
    for number, change in enumerate(changes, 1):
        desk.now_s += 1.0
        await desk.becomes(job, **change)
        await watcher.has(EventKind.PROGRESS, number)
    told = [event for event in watcher.events if event.kind is EventKind.PROGRESS]
    assert [event.measurements for event in told] == [(), (one, checked), (two,)]
    assert [event.job.reason for event in told if event.job] == ["waits for workers", "", ""]
    again = Watcher(desk, job)
    await again.has(EventKind.SNAPSHOT)
    assert again.events[0].measurements == (two, checked)
    for ended in (watcher, again):
        ended.reading.cancel()
