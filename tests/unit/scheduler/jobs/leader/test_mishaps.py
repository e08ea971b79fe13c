"""Jobs whose queue, store or etcd is not what it was: each comes to its end, and nothing is kept for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Hold
from modelyard.errors import AbortedError, NotFoundError, UnavailableError
from modelyard.jobs import lifecycle
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import TaskSpec
from modelyard.queue import Caps
from modelyard_scheduler.jobs.leader import epochs, leftovers
from modelyard_scheduler.jobs.leader.gangs import Gangs
from modelyard_scheduler.jobs.leader.leftovers import Leftovers
from modelyard_scheduler.jobs.leader.loop import FAULTY_S
from tests.unit.jobs.submitted import DIGEST
from tests.unit.scheduler.jobs.term import Stage, ended


async def test_a_queue_that_takes_no_more_tasks_fails_its_job(stage: Stage) -> None:
    stage.caps = Caps(queued=3)
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await stage.queue.cancel("job-1")
    job = await leader.until(ended, rounds=30)
    await leader.look(2)
    assert (job.state, job.reason) == (JobState.FAILED, "its tasks were cancelled")
    assert await stage.queue.active() == []


async def test_dead_letters_are_retried_though_the_queue_takes_no_more_tasks(stage: Stage) -> None:
    stage.raising, stage.reader.rows = {3}, 100_000
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.dead_rows == 1)
    await stage.queue.cancel("job-1")
    await stage.records.change("job-1", lambda job: replace(lifecycle.revive(job, 1, 1.0), retrying=("r3-4",)))
    assert (await leader.until(ended, rounds=30)).reason == "its tasks were cancelled"


async def test_what_is_remembered_of_a_job_outlives_the_retry_of_its_dead_letters(stage: Stage) -> None:
    stage.raising, stage.reader.rows = {3}, 100_000
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.dead_rows == 1)
    await leader.look(3)
    before = leader.loop._jobs["job-1"].course
    stage.raising = set()
    await stage.records.change("job-1", lambda job: replace(lifecycle.revive(job, 1, 1.0), retrying=("r3-4",)))
    await leader.until(lambda job: not job.retrying)
    await leader.look(2)
    assert leader.loop._jobs["job-1"].course is before
    assert (await leader.until(lambda job: job.progress.dead_rows == 0)).progress.rows == 100_000


async def test_what_ends_under_the_number_of_what_redis_has_forgotten_is_heard_of(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await leader.look(2)
    held = stage.queue.jobs["job-1"]
    task = held.tasks[held.endings.pop()]  # as if it had not ended yet: what was told last is forgotten
    task.state = "open"
    stage.queue.add_entry(held, task)
    job = await leader.until(ended, rounds=60)
    await leader.look()
    found = await stage.harvest()
    assert (job.state, found.rows, job.usage.rows) == (JobState.SUCCEEDED, 1000, 1000)


async def test_planning_that_fails_as_nobody_foresaw_is_left_alone_for_a_while(stage: Stage) -> None:
    stage.reader.error = RuntimeError("a bug")
    await stage.submit()
    leader = await stage.lead()
    await leader.look(20)
    assert len(stage.reader.planned) == 1
    stage.reader.error = None
    stage.now_s += FAULTY_S
    assert (await leader.until(ended)).state is JobState.SUCCEEDED


async def test_a_dataset_is_held_once_it_was_found(stage: Stage) -> None:
    stage.reader.error = NotFoundError("artifact: it is not there")
    await stage.submit()
    leader = await stage.lead()
    assert (await leader.until(ended)).state is JobState.FAILED
    assert await stage.held() == set()  # with a hold of what is not there nothing would be collected any more
    stage.reader.error = None
    await stage.submit("job-2")
    assert (await leader.until(ended, "job-2")).state is JobState.SUCCEEDED
    assert DIGEST in await stage.held("job-2")


@pytest.mark.parametrize("is_there", [True, False])
async def test_what_a_job_reads_that_was_paused_before_it_was_planned_is_held_however_long(
    stage: Stage, *, is_there: bool
) -> None:
    await stage.submit()
    if is_there:  # as the registry writes it when the job is submitted, for a day
        await stage.etcd.put(keys.hold(keys.upload_owner("default", "job-1")), codec.encode(Hold()))
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    leader = await stage.lead()
    await leader.look(3)
    assert await stage.held() == ({DIGEST} if is_there else set())  # with a hold of what is gone nothing is collected
    await stage.etcd.delete(keys.hold("jobs/job-1/input/dataset"))
    await (await stage.lead()).look(3)
    assert await stage.held() == ({DIGEST} if is_there else set())  # a leader that was to hold it may have died
    await stage.records.change("job-1", lambda job: lifecycle.resume(job, stage.now_s))
    assert (await (await stage.lead()).until(ended)).state is JobState.SUCCEEDED


async def test_a_job_whose_results_of_before_are_gone_can_be_cancelled(stage: Stage) -> None:
    stage.raising = {3}
    await stage.submit()
    leader = await stage.lead()
    await leader.until(ended)
    await leader.look(2)
    stage.shelf.chunks.clear()
    await stage.records.change("job-1", lambda job: lifecycle.cancel(lifecycle.revive(job, 1, 1.0), 2.0))
    job = await leader.until(ended, rounds=200)
    assert job.state is JobState.CANCELLED
    assert job.reason.startswith("its results of before are not in the artifact store")


async def test_a_job_does_not_end_before_all_are_retried_that_its_owner_wants(stage: Stage) -> None:
    await stage.submit()
    job = await (await stage.lead()).until(lambda job: job.state is JobState.FINISHING)
    waiting = replace(job, state=JobState.RUNNING, retrying=("r3-4",))
    assert lifecycle.advance(waiting, 1.0).state is JobState.RUNNING
    assert lifecycle.advance(replace(waiting, retrying=()), 1.0).state is JobState.FINISHING


async def test_what_is_held_for_jobs_that_redis_does_not_know_is_let_go_after_a_day(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PAGE", 1)
    for name in ("job-1", "job-2"):
        await stage.submit(name)
        await (await stage.lead()).until(ended, name)
    leader = await stage.lead()
    await leader.look()
    await stage.queue.delete("job-1")
    for name in ("job-1", "job-2"):
        await stage.etcd.put(keys.training_formation(name), b"{}")
    left = Leftovers(leader.context, leader.holds, Gangs(leader.context))
    await left.go()
    stage.now_s += leftovers.PATIENCE_S - 1
    await left.go()
    assert await stage.held("job-1")
    assert await stage.etcd.get(keys.training_formation("job-1"))
    stage.now_s += 1
    await left.go()
    assert await stage.held("job-1") == set()
    assert await stage.etcd.keys(keys.TRAINING) == [keys.training_formation("job-2")]
    assert await stage.held("job-2")


async def test_a_job_that_is_known_again_meanwhile_keeps_what_is_held(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(ended)
    left, known = Leftovers(leader.context, leader.holds, Gangs(leader.context)), dict(stage.queue.jobs)
    stage.queue.jobs.clear()
    await left.go()
    stage.queue.jobs.update(known)
    stage.now_s += leftovers.PATIENCE_S
    await left.go()
    stage.queue.jobs.clear()
    await left.go()
    assert await stage.held()


async def test_an_etcd_of_lower_revisions_than_redis_has_epochs_of(stage: Stage) -> None:
    held = await stage.submit()
    await stage.records.write(held, held.job, None, epoch=1 << 40)
    leader = await stage.lead()
    with pytest.RaisesGroup(pytest.RaisesExc(AbortedError, match="another one leads")):
        await leader.look(2)
    before = leader.context
    await epochs.raise_offset(before)
    again = replace(before, offset=await epochs.offset(before))
    assert again.epoch > 1 << 40
    await epochs.raise_offset(again)
    assert await epochs.offset(again) == again.offset
    later = await stage.lead()
    with pytest.raises(AbortedError, match="another one leads"):
        await epochs.raise_offset(again)
    assert again.offset + later.context.term.epoch > again.epoch


async def test_who_does_not_lead_by_etcd_raises_no_epoch(stage: Stage) -> None:
    held = await stage.submit()
    old = await stage.lead()
    await stage.lead()
    await stage.records.write(held, held.job, None, epoch=1 << 40)
    with pytest.raises(AbortedError):
        await epochs.raise_offset(old.context)
    assert await stage.etcd.get(keys.EPOCH_OFFSET) is None


async def test_a_deadline_ends_a_job_that_is_paused(stage: Stage) -> None:
    await stage.submit(deadline_s=10.0)
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    await leader.look(2)
    stage.now_s += 10.0
    await leader.look(4)
    assert (await stage.job()).reason.startswith("its deadline of 10 s has passed")
    assert await stage.queue.active() == []


async def test_a_job_whose_version_was_deleted_while_it_was_paused_fails_when_it_is_resumed(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    await leader.look(2)
    stage.version = NotFoundError("no version digits@1")
    stage.now_s += 60.0
    await leader.look(4)
    assert (await stage.job()).state is JobState.PAUSED
    await stage.records.change("job-1", lambda job: lifecycle.resume(job, stage.now_s))
    await leader.look(4)
    job = await stage.job()
    assert (job.state, job.reason) == (JobState.FAILED, "no version digits@1")


async def test_a_job_is_cancelled_while_its_results_wait_for_the_store(stage: Stage) -> None:
    stage.shelf.away = UnavailableError("no registry is live")
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.state is JobState.FINISHING)
    await stage.records.change("job-1", lambda job: lifecycle.cancel(job, stage.now_s))
    await leader.look(20)
    stage.shelf.away = None
    job = await leader.until(ended)
    await leader.look()
    assert (job.state, job.progress.done_rows) == (JobState.CANCELLED, 1000)
    assert (await stage.harvest()).rows == 1000
    assert await stage.queue.active() == []


async def test_what_comes_late_from_an_owner_is_put_right(stage: Stage) -> None:
    await stage.submit()
    leader = await stage.lead()
    await leader.until(lambda job: job.progress.done_rows > 0)
    await stage.queue.pause("job-1")  # of a PauseJob that was taken back since
    job = await leader.until(ended)
    await leader.look()
    assert job.state is JobState.SUCCEEDED
    for late in (stage.queue.resume, stage.queue.pause, stage.queue.cancel):
        await late("job-1")
    assert (await stage.harvest()).rows == 1000
    assert await stage.queue.active() == []


async def test_a_term_ends_though_another_leader_was_heard_of_at_the_same_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, waiting = await stage.lead(), asyncio.Event()

    async def replies(name: str, wait_s: float) -> list[TaskSpec]:
        try:
            waiting.set()
            return await asyncio.Future[list[TaskSpec]]()
        except asyncio.CancelledError:
            raise AbortedError("another scheduler leads") from None

    monkeypatch.setattr(stage.queue, "replies", replies)
    running = asyncio.create_task(leader.supervision.run(leader.context.term))
    await waiting.wait()
    running.cancel()
    await asyncio.wait([running], timeout=60)
    assert running.cancelled()
