"""Checkpoints of a training job, as its leader holds them and hands them on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Hold
from modelyard.errors import NotFoundError
from modelyard.jobs import lifecycle
from modelyard.jobs.checkpoints import step_of, uploads_of
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import Checkpoint, TrainingReport
from modelyard_scheduler.jobs.leader import holds
from tests.unit.jobs.submitted import DIGEST
from tests.unit.scheduler.jobs.leader.test_training import running, trainers, wish
from tests.unit.scheduler.jobs.leader.trainers import CODE, SPEC, Trainers, named, progressed

__all__ = ["trainers"]
READ = {CODE, DIGEST}


async def upload(trainers: Trainers, name: str, parts: int = 1) -> None:
    """As the registry, of bytes that are being stored."""
    for part in range(parts):
        key = keys.hold(f"{keys.upload_owner('default', name)}/{part:02}")
        await trainers.stage.etcd.put(key, codec.encode(Hold(chunks=("c" * 16,), expire_time_s=1.0)))


async def uploads(trainers: Trainers) -> list[str]:
    """Names of those that are held."""
    owner = keys.hold(keys.upload_owner("default", ""))
    return sorted({key.removeprefix(owner).partition("/")[0] for key in await trainers.stage.etcd.keys(owner)})


def draft(step: int, run: str = "a") -> str:
    return f"{uploads_of('job-1')}-{step:012d}-{run}-1"


@pytest.mark.parametrize(
    "upload", ["job-1", "job-1.checkpoint-x", "job-1.checkpoint-12-a", "job-11.checkpoint-" + "0" * 12]
)
def test_what_is_no_upload_of_a_checkpoint_has_no_step(upload: str) -> None:
    assert step_of("job-1", upload) is None
    assert step_of("job-1", draft(37)) == 37


async def test_those_that_are_kept_are_held_and_uploads_of_older_ones_are_let_go(
    trainers: Trainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "_DELETES", 2)
    leader = await running(trainers)
    trainers.holds = True
    names = [draft(1), draft(2), draft(3), draft(3, "b"), draft(4), "job-1.results", "job-11.checkpoint-" + "0" * 12]
    for name in names:
        await upload(trainers, name, 3)
    await trainers.save(3, 2, 1)
    await leader.look(4)
    assert await trainers.stage.held() == READ | {named(3), named(2), named(1)}
    assert await uploads(trainers) == sorted(names[2:])
    job = await trainers.stage.job()
    assert job.checkpoint == Checkpoint(named(3), 3, 1, 7)
    await trainers.save(4, 3)
    await leader.look(4)
    assert await trainers.stage.held() == READ | {named(4), named(3)}
    assert await uploads(trainers) == sorted(names[4:])
    listed = (await trainers.stage.etcd.list(keys.hold("jobs/job-1/checkpoints"))).items.values()
    assert [codec.decode(Hold, kv.value).expire_time_s for kv in listed] == [0.0]


async def test_a_leader_that_comes_new_holds_what_the_one_before_did_not(trainers: Trainers) -> None:
    await running(trainers)
    await trainers.save(3)
    await (await trainers.stage.lead()).look(3)
    assert await trainers.stage.held() == READ | {named(3)}


async def test_a_paused_job_keeps_its_checkpoints_however_long(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.save(3, 2)
    await wish(trainers, lifecycle.pause)
    for _ in range(6):
        await leader.look()
        await trainers.work()
    trainers.stage.now_s += 100 * 24 * 3600.0
    await leader.look(4)
    job = await trainers.stage.job()
    assert (job.state, job.checkpoint) == (JobState.PAUSED, Checkpoint(named(trainers.step), trainers.step, 1, 7))
    assert named(trainers.step) in await trainers.stage.held()


@pytest.mark.parametrize("end", [JobState.CANCELLED, JobState.FAILED, JobState.SUCCEEDED])
async def test_the_last_one_is_held_and_named_until_the_job_is_forgotten(trainers: Trainers, end: JobState) -> None:
    leader = await running(trainers)
    await upload(trainers, draft(3))
    await trainers.save(3, 2)
    trainers.holds = end is not JobState.SUCCEEDED
    if end is JobState.CANCELLED:
        await wish(trainers, lifecycle.cancel)
    if end is JobState.FAILED:
        await trainers.report(TrainingReport(failed="it raised"))
        await leader.look(3)
    job = await trainers.until_over(leader)
    assert (job.state, job.checkpoint) == (end, Checkpoint(named(trainers.checkpoint), trainers.checkpoint, 1, 7))
    assert progressed(job).checkpoint_step == trainers.checkpoint
    assert await trainers.stage.held() == READ | {named(trainers.checkpoint)}
    assert (await trainers.left(), await uploads(trainers)) == ([], [])
    trainers.stage.now_s += 8 * 24 * 3600.0
    await leader.forget()
    assert await trainers.stage.held() == set()


async def test_one_that_is_noted_while_the_job_ends_is_not_lost(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.stage.records.change(
        "job-1", lambda job: replace(job, state=JobState.FAILED, reason="its deadline has passed", end_time_s=1.0)
    )
    await trainers.save(5, 4)
    job = await trainers.until_over(leader)
    assert job.checkpoint == Checkpoint(named(5), 5, 1, 7)
    assert await trainers.stage.held() >= {named(5)}


async def test_a_job_goes_on_from_the_checkpoint_of_another(trainers: Trainers) -> None:
    await trainers.submit(SPEC, checkpoint=Checkpoint(named(6), 6, 1, 7))
    leader = await trainers.stage.lead()
    await leader.look(4)
    assert await trainers.stage.held() == READ | {named(6)}
    assert trainers.stage.found == [named(6), CODE, DIGEST]
    begun = progressed(await trainers.stage.job())
    assert (begun.step, begun.epoch, begun.checkpoint_step) == (6, 1, 6)
    await trainers.work()
    assert (trainers.resumed, trainers.step) == ([6], 8)
    job = await trainers.until_over(leader)
    assert (job.state, progressed(job).checkpoint_step) == (JobState.SUCCEEDED, 6)
    assert job.usage.rows == (10 - 6) * SPEC.batch_size


async def test_a_checkpoint_of_another_that_is_gone_fails_it(trainers: Trainers) -> None:
    trainers.stage.artifact = NotFoundError("no such manifest")
    await trainers.submit(SPEC, checkpoint=Checkpoint(named(6), 6))
    job = await trainers.until_over(await trainers.stage.lead())
    assert (job.state, job.reason) == (JobState.FAILED, "no such manifest")
    # A hold of what is not there would stop every collection.
    assert await trainers.stage.held() <= {named(6)}


@pytest.mark.parametrize("is_there", [True, False])
async def test_what_a_job_reads_that_was_paused_before_it_had_begun_is_held_however_long(
    trainers: Trainers, *, is_there: bool
) -> None:
    await trainers.submit(SPEC, checkpoint=Checkpoint(named(6), 6, 1, 7))
    if is_there:  # as the registry writes it when the job is submitted, for a day
        await trainers.stage.etcd.put(keys.hold(keys.upload_owner("default", "job-1")), codec.encode(Hold()))
    await wish(trainers, lifecycle.pause)
    leader = await trainers.stage.lead()
    await leader.look(4)
    assert (await trainers.stage.job()).state is JobState.PAUSED
    assert await trainers.stage.held() == (READ | {named(6)} if is_there else set())
