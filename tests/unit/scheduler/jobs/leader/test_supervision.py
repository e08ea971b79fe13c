"""What the leader makes of jobs: whole lives, owners' wishes, failures, leaders that die between any two steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Resources
from modelyard.deployment import Deployment
from modelyard.errors import (
    AbortedError,
    ExhaustedError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    UnavailableError,
)
from modelyard.etcd import Etcd
from modelyard.jobs import lifecycle
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import TaskSpec
from modelyard.queue import Caps, Claim
from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.records import KEEP_S
from tests.unit.jobs.submitted import DIGEST
from tests.unit.scheduler.jobs.term import MODEL, VERSION, Stage, Tracked, ended


async def wished(etcd: Etcd, name: str = "job-1") -> Deployment:
    found = await etcd.get(keys.job("digits", "1", name))
    assert found
    return codec.decode(Deployment, found.value)


def rows_of(found: list[TaskSpec]) -> list[int]:
    return sorted(row for task in found for row in range(task.begin, task.end))


async def check_all_there(stage: Stage, name: str, rows: int, dead: set[int]) -> None:
    """Every row has one result, or is one dead letter; all results are held, and nothing else is left."""
    found = await stage.harvest(name)
    assert not found.open
    assert rows_of([*(task for task, _ in found.done), *found.dead]) == list(range(rows))
    assert rows_of(list(found.dead)) == sorted(dead)
    job = await stage.job(name)
    assert (job.progress.done_rows, job.progress.dead_rows) == (rows - len(dead), len(dead))
    assert job.usage.rows == rows - len(dead)
    assert job.outcomes
    wanted = {chunk for _, outcome in found.done for piece in outcome.pieces for chunk in piece.chunks}
    wanted |= set(job.outcomes.chunks)
    assert await stage.held(name) - {DIGEST} == {chunk[:16] for chunk in wanted}
    assert name not in await stage.queue.active()
    assert (await wished(stage.etcd, name)).replicas == 0
    left = [task for task in stage.queue.jobs[name].tasks.values() if task.state != "dead"]
    assert left == []


async def test_a_job_is_executed_to_its_end(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    job = await leader.until(ended)
    await leader.look()
    assert (job.state, job.reason, job.progress.left_rows) == (JobState.SUCCEEDED, "", 0)
    assert (job.progress.queued_tasks, job.progress.running_tasks, job.progress.workers) == (0, 0, ())
    assert job.create_time_s < job.start_time_s < job.end_time_s
    await check_all_there(stage, "job-1", 1000, set())
    assert stage.executed.count("r0-64") == 1
    phases = [event.detail for event in await stage.queue.events("job-1", 0) if event.kind == "state"]
    assert phases == ["QUEUED", "PLANNING", "RUNNING", "FINISHING", "SUCCEEDED"]


async def test_rows_that_raise_are_given_up_and_all_others_complete(stage: Stage) -> None:
    stage.raising = {3, 700}
    await stage.submit()
    leader = await stage.lead()
    job = await leader.until(ended)
    await leader.look()
    assert (job.state, job.reason) == (JobState.PARTIALLY_SUCCEEDED, "2 of 1000 rows were given up")
    assert job.progress.retries > 4
    await check_all_there(stage, "job-1", 1000, {3, 700})
    assert sum(stage.figures.retried.values()) == job.progress.retries


async def test_a_job_of_no_rows_ends_at_once(stage: Stage) -> None:
    stage.reader.rows = 0
    await stage.submit()
    leader = await stage.lead()
    job = await leader.until(ended, rounds=6)
    await leader.look()
    assert (job.state, job.progress.rows, stage.executed) == (JobState.SUCCEEDED, 0, [])
    await check_all_there(stage, "job-1", 0, set())


@pytest.mark.parametrize("state", ["PARTIALLY_SUCCEEDED", "CANCELLED"])
async def test_whenever_a_leader_dies_the_next_goes_on(stage: Stage, state: str) -> None:
    effects = 0
    died = True
    while died:
        effects += 1
        name = f"job-{effects}"
        one = Stage(stage.etcd, raising={5}, version=stage.version)
        one.reader.rows = 300
        await one.submit(name)
        first = await one.lead(effects)
        died = await first.until_dead_of(name, cancel=state == "CANCELLED")
        if state == "CANCELLED":
            await one.records.change(name, lambda job: lifecycle.cancel(job, 1.0) if not job.ended else job)
        job = await (await one.lead()).until(ended, name)
        leader = await one.lead()
        await leader.look(2)
        assert job.state.value == state, (effects, first.leaving.done)
        if state == "CANCELLED":
            await check_nothing_lost(one, name)
        else:
            await check_all_there(one, name, 300, {5})
        assert set(one.executed) >= {task.id for task, _ in (await one.harvest(name)).done}
    assert effects > 10


async def test_whenever_an_answer_does_not_come_the_leader_goes_on(stage: Stage) -> None:
    effects, cut_off = 0, True
    while cut_off:
        effects += 1
        name = f"job-{effects}"
        one = Stage(stage.etcd, raising={5}, version=stage.version)
        one.reader.rows = 300
        await one.submit(name)
        leader = await one.lead(effects, back=True)
        job = await leader.until(ended, name)
        await leader.look(30)
        cut_off = leader.leaving.left <= 0
        assert job.state is JobState.PARTIALLY_SUCCEEDED, leader.leaving.done
        await check_all_there(one, name, 300, {5})
    assert effects > 10


async def check_nothing_lost(stage: Stage, name: str) -> None:
    """What had ended before a job was cancelled is kept."""
    found = await stage.harvest(name)
    assert {task.id for task, _ in found.done} == set(stage.executed)
    assert (await stage.job(name)).progress.done_rows == found.rows
    assert name not in await stage.queue.active()


async def test_a_leader_that_was_deposed_changes_nothing(stage: Stage) -> None:
    await stage.submit()
    old = await stage.lead()
    await old.until(lambda job: job.progress.done_rows > 0)
    new = await stage.lead()
    await new.look(2)
    before = await stage.records.read("job-1")
    with pytest.RaisesGroup(pytest.RaisesExc(AbortedError, match="another one leads")):
        for _ in range(20):
            await stage.work()
            await old.look(2)
    assert (await stage.records.read("job-1")).revision == before.revision
    await new.until(ended)
    await new.look()
    await check_all_there(stage, "job-1", 1000, set())


async def test_what_a_deposed_leader_has_read_last_it_cannot_write(stage: Stage) -> None:
    await stage.submit()
    old = await stage.lead()
    await old.look(3)
    course = old.loop._jobs["job-1"].course
    assert isinstance(course, Course)
    await (await stage.lead()).until(lambda job: job.progress.done_rows > 0)
    course.held = before = await stage.records.read("job-1")
    with pytest.raises(AbortedError, match="another one leads"):
        await old.rounds.write(course, replace(course.job, reason="written late"))
    assert (await stage.records.read("job-1")).revision == before.revision


async def test_late_in_a_job_a_slow_task_is_attempted_a_second_time(stage: Stage) -> None:
    stage.reader.rows = 128
    await stage.submit()
    leader = await stage.lead()
    await leader.look(3)
    slow = await stage.queue.fetch("w1", [MODEL])
    assert isinstance(slow, Claim)
    assert await stage.work("w2", 2) == 1
    await leader.look(2)
    assert await stage.work("w2") == 0
    stage.now_s += 10.0
    await leader.look(2)
    assert await stage.work("w2") == 1
    assert slow.task in stage.executed
    assert not await stage.queue.finish(slow, b"{}")
    assert (await leader.until(ended)).state is JobState.SUCCEEDED


async def test_a_job_is_paused_and_resumed(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    await leader.look(2)
    assert (await stage.queue.job("job-1")).state == "paused"
    planned = (await stage.records.read("job-1")).plan
    assert await stage.work(tasks=50) == 0
    await leader.look(20)
    assert (await stage.records.read("job-1")).plan == planned
    await stage.records.change("job-1", lambda job: lifecycle.resume(job, stage.now_s))
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    await check_all_there(stage, "job-1", 1000, set())


async def test_what_was_found_is_kept_if_the_job_is_paused_meanwhile(stage: Stage) -> None:
    stage.reader.hold = asyncio.Event()
    await stage.submit()
    leader = await stage.lead()
    await leader.look_without_waiting(lambda: bool(stage.reader.planned))
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    stage.reader.hold.set()
    await leader.settle()
    held = await stage.records.read("job-1")
    assert (held.job.state, held.job.found is not None, held.plan is not None) == (JobState.PAUSED, True, True)
    await leader.look(2)
    await stage.records.change("job-1", lambda job: lifecycle.resume(job, stage.now_s))
    job = await leader.until(ended)
    assert (job.state, stage.reader.planned) == (JobState.SUCCEEDED, ["job-1"])


async def test_a_job_is_cancelled_while_it_is_planned(stage: Stage) -> None:
    stage.reader.hold = asyncio.Event()
    await stage.submit()
    leader = await stage.lead()
    await leader.look_without_waiting(lambda: bool(stage.reader.planned))
    await stage.records.change("job-1", lambda job: lifecycle.cancel(job, stage.now_s))
    job = await leader.until(ended)
    await leader.settle()
    await leader.look(2)
    assert (job.state, job.outcomes) == (JobState.CANCELLED, None)
    assert await stage.queue.active() == []


async def test_what_is_cancelled_keeps_what_it_has(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    claim = await stage.queue.fetch("w1", [MODEL])
    assert isinstance(claim, Claim)
    assert await stage.work("w2") == 1
    await stage.records.change("job-1", lambda job: lifecycle.cancel(job, stage.now_s))
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.CANCELLED
    assert not await stage.queue.finish(claim, b"{}")
    await check_nothing_lost(stage, "job-1")
    assert job.progress.running_tasks == 0


async def test_dead_letters_are_retried(stage: Stage) -> None:
    stage.raising = {3, 700}
    await stage.submit()
    await (await stage.lead()).until(ended)
    leader = await stage.lead()
    await leader.look(2)
    stage.raising = {3}
    dead = tuple(sorted(task.id for task in (await stage.harvest()).dead))

    def retried(job: Job) -> Job:
        return replace(lifecycle.revive(job, 2, stage.now_s), retrying=dead)

    await stage.records.change("job-1", retried)
    job = await leader.until(ended)
    await leader.look(2)
    assert (job.state, job.retrying) == (JobState.PARTIALLY_SUCCEEDED, ())
    await check_all_there(stage, "job-1", 1000, {3})


async def test_dead_letters_of_a_running_job_are_retried_by_whoever_leads_then(stage: Stage) -> None:
    stage.raising, stage.reader.rows = {3}, 100_000
    await stage.submit()
    await (await stage.lead()).until(lambda job: job.progress.dead_rows == 1)
    stage.raising = set()
    await stage.records.change("job-1", lambda job: replace(lifecycle.revive(job, 1, 1.0), retrying=("r3-4", "r9-9")))
    with pytest.RaisesGroup(AbortedError):
        await (await stage.lead(effects=1)).look(3)  # dies as soon as it has queued it
    leader = await stage.lead()
    job = await leader.until(ended, rounds=1000)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    await check_all_there(stage, "job-1", 100_000, set())


async def test_a_deadline_ends_a_job(stage: Stage) -> None:
    await stage.submit(deadline_s=10.0)
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    stage.now_s += 10.0
    await leader.look(2)
    job = await stage.job()
    assert job.state is JobState.FAILED
    assert job.reason.startswith("its deadline of 10 s has passed")
    await check_nothing_lost(stage, "job-1")
    assert await stage.work(tasks=1) == 0


async def test_a_deadline_ends_a_job_that_has_not_begun(stage: Stage) -> None:
    stage.reader.hold = asyncio.Event()
    await stage.submit(deadline_s=10.0)
    leader = await stage.lead()
    await leader.look_without_waiting(lambda: bool(stage.reader.planned))
    stage.now_s += 11.0
    job = await leader.until(ended)
    await leader.look(2)
    await leader.settle()
    assert job.reason == "its deadline of 10 s has passed: 0 of not yet counted rows were done"


async def test_too_many_dead_rows_end_a_job(stage: Stage) -> None:
    stage.raising = {1, 2, 3}
    await stage.submit(max_dead_rows=2)
    leader = await stage.lead()
    job = await leader.until(ended)
    await leader.look(2)
    assert (job.state, job.reason) == (JobState.FAILED, "3 rows were given up, at most 2 are allowed")
    assert await stage.queue.active() == []


async def test_a_dataset_that_does_not_do_fails_its_job(stage: Stage) -> None:
    stage.reader.error = InvalidInputError("input 'x': no column")
    await stage.submit()
    leader = await stage.lead()
    job = await leader.until(ended)
    await leader.look(2)
    assert (job.state, job.reason) == (JobState.FAILED, "input 'x': no column")
    assert await stage.queue.active() == []


@pytest.mark.parametrize("error", [UnavailableError("the registry is away"), ExhaustedError("the store is full")])
async def test_planning_waits_for_what_is_away(stage: Stage, error: ModelyardError) -> None:
    stage.reader.error = error
    await stage.submit()
    leader = await stage.lead()
    await leader.look(4)
    job = await stage.job()
    assert (job.state, job.reason) == (JobState.QUEUED, error.message)
    tried = len(stage.reader.planned)
    assert tried < 4
    stage.reader.error = None
    assert (await leader.until(ended)).state is JobState.SUCCEEDED


@pytest.mark.parametrize("found", [NotFoundError("no version digits@1"), replace(VERSION, state=Lifecycle.DELETED)])
async def test_a_version_that_is_gone_fails_its_job(stage: Stage, found: object) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    stage.version = found  # type: ignore[assignment]
    stage.now_s += 10.0
    await leader.look(4)
    job = await stage.job()
    assert job.state is JobState.FAILED
    assert "digits@1" in job.reason
    await check_nothing_lost(stage, "job-1")


async def test_a_version_that_no_worker_can_run_fails_its_job_after_some_time(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.look(3)
    stage.state.instances.items = {}
    stage.state.wishes.items = {
        "digits@1/job-1": replace(await wished(stage.etcd), resources=Resources(memory_bytes=1 << 50))
    }
    await leader.look(12)
    assert (await stage.job()).state is JobState.RUNNING
    await leader.look(120)
    job = await stage.job()
    assert job.state is JobState.FAILED
    assert "no live worker can run it" in job.reason
    stage.now_s += 3600.0
    await stage.submit("job-2")
    await leader.look(12)
    assert (await stage.job("job-2")).state is JobState.RUNNING  # it has as much time as the first


async def test_results_wait_for_a_store_that_is_away(stage: Stage) -> None:
    stage.shelf.away = UnavailableError("no registry is live")
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.state is JobState.FINISHING)
    await leader.look(20)
    assert (await stage.job()).state is JobState.FINISHING
    stage.shelf.away = None
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    await check_all_there(stage, "job-1", 1000, set())


async def test_results_of_before_that_are_gone_fail_a_job_that_is_revived(stage: Stage) -> None:
    stage.raising = {3}
    await stage.submit()
    leader = await stage.lead()
    await leader.until(ended)
    await leader.look(2)
    stage.shelf.chunks.clear()
    await stage.records.change("job-1", lambda job: replace(lifecycle.revive(job, 1, 1.0), retrying=("r3-4",)))
    job = await leader.until(ended)
    await leader.look(100)
    assert (job.state, job.outcomes) == (JobState.FAILED, None)
    assert "not in the artifact store" in job.reason
    assert await stage.queue.active() == []


async def test_what_redis_has_forgotten_is_executed_again(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    queued = [name for name, task in stage.queue.jobs["job-1"].tasks.items() if task.state == "open"]
    for name in queued:
        task = stage.queue.jobs["job-1"].tasks[name]
        stage.queue.remove_entries(stage.queue.jobs["job-1"], task)
        del stage.queue.jobs["job-1"].tasks[name]
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    await check_all_there(stage, "job-1", 1000, set())


async def test_tasks_wait_for_room(stage: Stage) -> None:
    stage.caps = Caps(queued=3)
    await stage.submit()
    leader = await stage.lead()
    await leader.look(3)
    assert (await stage.queue.job("job-1")).counts.queued == 3
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    await check_all_there(stage, "job-1", 1000, set())


async def test_what_was_held_as_uploads_is_let_go_when_all_is_held_for_the_job(stage: Stage) -> None:
    await stage.submit("job-1", tenant="acme")
    owners = [("acme", "job-1"), ("acme", "job-1.r0-64"), ("acme", "job-10"), ("other", "job-1")]
    uploads = [keys.hold(f"{keys.upload_owner(*owner)}/00") for owner in owners]
    for key in uploads:
        await stage.etcd.put(key, b"{}")
    leader = await stage.lead()
    await leader.until(lambda job: job.state is JobState.FINISHING)
    assert await stage.etcd.keys(keys.hold(keys.UPLOADS)) == sorted(uploads)
    await leader.until(ended)
    await leader.look()
    assert await stage.etcd.keys(keys.hold(keys.UPLOADS)) == sorted(uploads[2:])
    assert await stage.held()


async def test_jobs_are_forgotten_with_all_that_is_held_for_them(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(ended)
    await leader.look()
    await leader.forget()
    assert await stage.held()
    stage.now_s += KEEP_S
    await leader.forget()
    assert await stage.held() == set()
    with pytest.raises(NotFoundError):
        await stage.records.read("job-1")


async def test_a_round_asks_redis_as_often_however_many_tasks_are_open(stage: Stage) -> None:
    stage.reader.rows = 100_000
    asked = []
    for workers in (2, 50):
        name = f"job-{workers}"
        stage.ready(*(f"w{n}" for n in range(workers)))
        await stage.submit(name)
        leader = await stage.lead()
        await leader.until(lambda job: job.state is JobState.RUNNING, name)
        await leader.look(20)
        before = len(leader.leaving.asked)
        await leader.look(10)
        asked.append(len(leader.leaving.asked) - before)
        await stage.records.change(name, lambda job: lifecycle.cancel(job, 1.0))
        await leader.until(ended, name)
        await leader.look(2)
    assert asked[0] == asked[1]


async def test_many_jobs_that_wait_cost_little(stage: Stage) -> None:
    stage.state.instances.items = {}
    stage.caps = Caps(jobs=1000)
    stage.reader.rows = 10
    for number in range(60):
        await stage.submit(f"job-{number}")
    leader = await stage.lead()
    await leader.look(40)
    assert stage.figures.states == {"RUNNING": 60}
    before = len(leader.leaving.asked)
    await leader.look(10)
    # Two seconds in twelve each has a round, of two questions; beside that one look is two of them.
    assert len(leader.leaving.asked) - before <= 60 * 2 * 2 + 10 * 4


async def test_the_second_job_of_a_model_is_cut_as_the_first_was_fast(stage: Stage) -> None:
    await stage.submit("job-1")
    leader = await stage.lead()
    await leader.until(ended)
    assert stage.executed.count("r0-64") == 1
    await stage.submit("job-2")
    await leader.until(ended, "job-2")
    assert stage.executed.count("r0-64") == 1
    await check_all_there(stage, "job-2", 1000, set())


async def test_a_new_job_is_looked_at_when_it_is_told_of(stage: Stage) -> None:
    leader = await stage.lead()
    await leader.look()
    await stage.submit()
    await leader.loop.welcome()
    async with Tracked() as group:
        await leader.loop.look(group)
        assert leader.loop._jobs.keys() == {"job-1"}
        await asyncio.wait(group.tasks)
    assert (await stage.job()).state is JobState.RUNNING
