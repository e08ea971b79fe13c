"""Training jobs from their submission to their end, with leaders that die anywhere in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Resources
from modelyard.errors import AbortedError, DataLossError, NotFoundError, UnavailableError
from modelyard.jobs import lifecycle
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Code, Parallelism
from modelyard.jobs.training_progress import TrainingProgress, TrainingReport
from modelyard_scheduler.jobs.leader import training_course, training_rounds
from modelyard_scheduler.jobs.leader.gangs import RANK_BYTES
from tests.unit.jobs.submitted import DIGEST
from tests.unit.scheduler.jobs.leader.trainers import CODE, SPEC, Trainers, progressed
from tests.unit.scheduler.jobs.term import Leading, Stage


@pytest.fixture
def trainers(stage: Stage) -> Trainers:
    return Trainers(stage)


async def running(trainers: Trainers, deadline_s: float = 0.0) -> Leading:
    """A leader whose job trains."""
    await trainers.submit(deadline_s=deadline_s)
    leader = await trainers.stage.lead()
    for _ in range(6):
        await leader.look()
        await trainers.work(1)
    job = await trainers.stage.job()
    assert (job.state, progressed(job).members) == (JobState.RUNNING, ("w1", "w2"))
    return leader


async def wish(trainers: Trainers, change: object) -> None:
    await trainers.stage.records.change("job-1", lambda job: change(job, trainers.stage.now_s))  # type: ignore[operator]


async def test_a_job_trains_and_leaves_a_version_and_nothing_else(trainers: Trainers) -> None:
    await trainers.submit()
    leader = await trainers.stage.lead()
    seen: list[str] = []
    for _ in range(60):
        await leader.look()
        await trainers.work()
        job = await trainers.stage.job()
        seen += [job.state] if job.state not in seen else []
    assert seen[-3:] == ["RUNNING", "FINISHING", "SUCCEEDED"]
    assert (job.version, job.reason, job.traceback) == ("1", "", "")
    assert progressed(job) == TrainingProgress(10, 10, 0, 0, 5.0, ("w1", "w2"), 2, 2)
    (measured,) = job.measurements
    assert (measured.step, measured.values) == (10, {"loss": 1 / 11})
    assert job.usage.rows == 80
    assert job.usage.compute_s > 0
    assert await trainers.left() == []
    assert await trainers.stage.held() == {CODE, DIGEST}
    assert job.checkpoint is None
    assert trainers.stage.found == [CODE, DIGEST]
    assert await trainers.stage.queue.active() == []


async def test_its_processes_are_wished_for_with_what_they_need(trainers: Trainers) -> None:
    await running(trainers)
    ranks, control = [(await trainers.wishes())[f"~job-1@{kind}"] for kind in ("ranks", "control")]
    assert (ranks.replicas, ranks.least, ranks.resources) == (2, 2, Resources(memory_bytes=RANK_BYTES))
    assert (ranks.manifest_digest, control.replicas, control.manifest_digest) == (CODE, 1, CODE)
    charter = await trainers.charter()
    assert charter
    assert (charter.spec, charter.tenant, charter.stop, len(charter.secret)) == (SPEC, "default", "", 32)


async def test_what_a_user_says_of_a_rank_is_what_it_needs(trainers: Trainers) -> None:
    needs = Resources(1.0, 2 << 30, 1)
    await trainers.submit(replace(SPEC, resources=needs))
    await (await trainers.stage.lead()).look(4)
    assert (await trainers.wishes())["~job-1@ranks"].resources == needs


@contextmanager
def suppress_death() -> Iterator[None]:
    """A leader that was to die has."""
    try:
        yield
    except* AbortedError:
        pass


@pytest.mark.parametrize("effects", range(1, 12))
@pytest.mark.parametrize("end", ["", "cancel"])
async def test_a_leader_that_dies_between_any_two_effects(trainers: Trainers, effects: int, end: str) -> None:
    await trainers.submit()
    trainers.holds = bool(end)
    leader = await trainers.stage.lead(effects)
    with suppress_death():
        await _drive(trainers, leader, end)
    assert leader.leaving.left <= 0
    heir = await trainers.stage.lead()
    if end and (await trainers.stage.job()).state not in {JobState.CANCELLING, JobState.CANCELLED}:
        await wish(trainers, lifecycle.cancel)
    job = await trainers.until_over(heir)
    assert job.state is (JobState.CANCELLED if end else JobState.SUCCEEDED)
    assert await trainers.left() == []
    assert trainers.resumed in ([], [0])


async def _drive(trainers: Trainers, leader: Leading, end: str) -> None:
    for number in range(60):
        await leader.look()
        await trainers.work()
        if end and number == 4:
            await wish(trainers, lifecycle.cancel)


async def test_a_cut_off_leader_comes_to_the_same(trainers: Trainers) -> None:
    for effects in range(1, 9):
        stage = trainers.stage
        stage.queue = None
        stage.__post_init__()
        again = Trainers(stage)
        await again.submit()
        assert (await again.until_over(await stage.lead(effects, back=True), 120)).state is JobState.SUCCEEDED


async def test_it_is_paused_with_a_checkpoint_and_goes_on_from_it(trainers: Trainers) -> None:
    leader = await running(trainers)
    await wish(trainers, lifecycle.pause)
    for _ in range(8):
        await leader.look()
        await trainers.work()
    job = await trainers.stage.job()
    assert (job.state, progressed(job).members, job.progress.workers) == (JobState.PAUSED, (), ())
    assert await trainers.wishes() == {}
    saved = trainers.checkpoint
    assert progressed(job).step == saved > 0
    assert await trainers.stage.etcd.get(keys.training_formation("job-1"))
    await wish(trainers, lifecycle.resume)
    assert (await trainers.until_over(leader)).state is JobState.SUCCEEDED
    assert trainers.resumed == [0, saved]


async def test_one_that_is_resumed_before_it_has_stopped_begins_when_nothing_is_left(trainers: Trainers) -> None:
    leader = await running(trainers)
    await wish(trainers, lifecycle.pause)
    await leader.look(2)
    charter = await trainers.charter()
    assert charter
    assert charter.stop == "it is paused"
    await wish(trainers, lifecycle.resume)
    await trainers.work()  # they stop, and are still there
    await leader.look(4)
    job = await trainers.stage.job()
    assert (job.state, job.reason) == (JobState.RUNNING, "its processes of before are ending")
    assert await trainers.wishes() == {}
    assert (await trainers.until_over(leader)).state is JobState.SUCCEEDED
    assert len(trainers.resumed) == 2


async def test_a_leader_dies_while_a_job_is_paused_and_resumed(trainers: Trainers) -> None:
    for effects in range(1, 6):
        stage = trainers.stage
        stage.queue = None
        stage.__post_init__()
        again = Trainers(stage)
        await running(again)
        again.holds = True
        await wish(again, lifecycle.pause)
        leader = await stage.lead(effects)
        with suppress_death():
            for number in range(20):
                await leader.look()
                await again.work()
                if number == 6:
                    await wish(again, lifecycle.resume)
        await wish(again, lifecycle.resume)
        again.holds = False
        assert (await again.until_over(await stage.lead())).state is JobState.SUCCEEDED
        assert await again.left() == []


async def test_a_cancelled_job_is_told_to_stop_and_then_withdrawn(trainers: Trainers) -> None:
    leader = await running(trainers)
    await wish(trainers, lifecycle.cancel)
    await leader.look()
    charter = await trainers.charter()
    assert charter
    assert charter.stop == "it is cancelled"
    assert (await trainers.stage.job()).state is JobState.CANCELLING
    job = await trainers.until_over(leader)
    assert (job.state, progressed(job).members) == (JobState.CANCELLED, ())
    assert progressed(job).checkpoint_step == trainers.checkpoint > 0
    assert await trainers.left() == []


async def test_processes_that_do_not_stop_are_withdrawn_within_four_seconds(trainers: Trainers) -> None:
    leader = await running(trainers)
    trainers.stops = False
    begin_s = trainers.stage.now_s
    await wish(trainers, lifecycle.cancel)
    while await trainers.wishes():
        await leader.look()
        await trainers.work()
        assert trainers.stage.now_s - begin_s < 5.0
    assert trainers.stage.now_s - begin_s >= training_rounds.CANCEL_S
    assert (await trainers.until_over(leader)).state is JobState.CANCELLED


async def test_what_has_no_processes_yet_is_cancelled_at_once(trainers: Trainers) -> None:
    trainers.label()
    await trainers.submit()
    leader = await trainers.stage.lead()
    await leader.look(4)
    await trainers.place()
    await wish(trainers, lifecycle.cancel)
    await leader.look(3)
    assert (await trainers.stage.job()).state is JobState.CANCELLED
    assert await trainers.left() == []


async def test_a_failure_ends_it_with_its_reason_and_the_traceback(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.report(TrainingReport(failed="recipe: it raised in step 3", traceback="x" * 30_000 + "ValueError"))
    await leader.look(4)
    job = await trainers.stage.job()
    assert (job.state, job.reason) == (JobState.FAILED, "recipe: it raised in step 3")
    assert job.traceback.endswith("ValueError")
    assert len(job.traceback) == training_course.MOST_TRACEBACK
    assert await trainers.left() == []


async def test_a_deadline_that_passes(trainers: Trainers) -> None:
    leader = await running(trainers, deadline_s=60.0)
    trainers.stage.now_s += 60.0
    await leader.look(4)
    job = await trainers.stage.job()
    assert job.state is JobState.FAILED
    assert job.reason == f"its deadline of 60 s has passed: {progressed(job).step} of 10 steps were done"
    assert await trainers.left() == []


async def test_without_room_it_is_running_and_says_what_it_waits_for(trainers: Trainers) -> None:
    trainers.label()
    await trainers.submit()
    leader = await trainers.stage.lead()
    for _ in range(6):
        await leader.look()
        await trainers.place()
    job = await trainers.stage.job()
    assert (job.state, progressed(job).members) == (JobState.RUNNING, ())
    assert job.reason == "waits for workers that run users' code: no live one was started with --allow-code"
    trainers.label("w1")
    for _ in range(4):
        await leader.look()
        await trainers.place()
    reason = (await trainers.stage.job()).reason
    assert reason == "waits for workers: 0 of at least 2, only 1 more has room; w2: not selected by --on allow-code=yes"
    trainers.label("w1", "w2")
    assert (await trainers.until_over(leader)).reason == ""


async def test_below_its_least_workers_it_says_so_and_goes_on_when_they_are_back(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.report(TrainingReport(TrainingProgress(4, 10, members=("w1",))))
    await leader.look(4)
    job = await trainers.stage.job()
    assert (job.state, job.reason) == (JobState.RUNNING, "its processes are being started")
    assert (await trainers.until_over(leader)).state is JobState.SUCCEEDED


async def test_without_its_control_process_nobody_knows_how_it_goes(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.stage.etcd.delete(keys.training_control("job-1"))
    await leader.look()
    job = await trainers.stage.job()
    assert job.reason == "nobody tells how it goes: its processes are being started"
    assert (progressed(job).samples_per_s, progressed(job).members) == (0.0, ("w1", "w2"))
    trainers.holds = True
    for _ in range(3):
        await trainers.work()
        await leader.look()
    job = await trainers.stage.job()
    assert (job.reason, progressed(job).samples_per_s) == ("", 5.0)


@pytest.mark.parametrize("shards", [1, 2])
async def test_where_ranks_share_a_model_it_is_told_for_how_many_there_are_places(
    trainers: Trainers, shards: int
) -> None:
    async def told() -> int | None:
        await leader.look(4)
        found = await trainers.stage.etcd.get(keys.training_places("job-1"))
        return int(found.value) if found else None

    await trainers.submit(replace(SPEC, parallelism=Parallelism(shard=shards)))
    leader = await trainers.stage.lead()
    for _ in range(6):
        await leader.look()
        await trainers.work(1)
    assert await told() == (2 if shards > 1 else None)
    del trainers.stage.state.placements.items["w2/~job-1@ranks"]
    assert await told() == (1 if shards > 1 else None)


async def test_what_rank_0_waits_for_at_the_end_is_its_reason(trainers: Trainers) -> None:
    leader = await running(trainers)
    progress = TrainingProgress(10, 10, members=("w1", "w2"), min_workers=2, max_workers=2)
    waits = TrainingReport(progress, waits_for="its version is being made: no registry is live", waits_since_s=86_400.0)
    await trainers.report(waits)
    await leader.look()
    job = await trainers.stage.job()
    said = "its version is being made: no registry is live (since 1970-01-02 00:00:00 UTC)"
    assert (job.state, job.reason, progressed(job).step) == (JobState.RUNNING, said, 10)
    await trainers.report(TrainingReport(progress))
    await leader.look(4)
    assert (await trainers.stage.job()).reason == ""


async def test_what_no_worker_can_run_fails_after_a_while(trainers: Trainers) -> None:
    await trainers.submit(replace(SPEC, resources=Resources(cpu=64.0)))
    leader = await trainers.stage.lead()
    for _ in range(int(training_rounds.HOPELESS_S / 0.6) + 12):
        await leader.look()
        trainers.stage.state.wishes.items = {f"{n}/job-1": w for n, w in (await trainers.wishes()).items()}
    job = await trainers.stage.job()
    assert job.state is JobState.FAILED
    assert "no live worker can run it: w1: " in job.reason
    assert await trainers.left() == []


async def test_processes_that_stop_by_themselves_are_begun_again(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.report(TrainingReport(TrainingProgress(4, 10), stopped=True))
    await leader.look(4)
    await trainers.work()
    assert (await trainers.until_over(leader)).state is JobState.SUCCEEDED
    assert len(trainers.resumed) == 2


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Model("new", tenant="acme"), "model 'new': expected one of tenant 'default', it is another's"),
        (Model("new", state=Lifecycle.DELETED), "model 'new': it is deleted; undelete it first"),
    ],
)
async def test_a_name_that_cannot_be_had_fails_it_before_anything_is_begun(
    trainers: Trainers, model: Model, reason: str
) -> None:
    await trainers.stage.etcd.put(keys.model("new"), codec.encode(model))
    await trainers.submit()
    job = await trainers.until_over(await trainers.stage.lead())
    assert (job.state, job.reason, trainers.resumed) == (JobState.FAILED, reason, [])
    assert await trainers.left() == []


@pytest.mark.parametrize("error", [NotFoundError("no such manifest"), DataLossError("2 chunks are missing")])
async def test_what_it_reads_has_to_be_there(trainers: Trainers, error: Exception) -> None:
    trainers.stage.artifact = error
    await trainers.submit()
    job = await trainers.until_over(await trainers.stage.lead())
    assert (job.state, job.reason) == (JobState.FAILED, str(error))


async def test_while_the_registry_is_away_it_is_queued(trainers: Trainers) -> None:
    stage = trainers.stage
    whole, stage.artifact = stage.artifact, UnavailableError("no registry is live")
    await trainers.submit()
    leader = await stage.lead()
    await leader.look(6)
    job = await stage.job()
    assert (job.state, job.reason) == (JobState.QUEUED, "no registry is live")
    stage.artifact = whole
    assert (await trainers.until_over(leader)).state is JobState.SUCCEEDED


async def test_processes_of_unknown_jobs_are_withdrawn(trainers: Trainers) -> None:
    await running(trainers)
    trainers.stage.queue.jobs.clear()
    leader = await trainers.stage.lead()
    await leader.look(3)
    assert await trainers.wishes() == {}
    assert await trainers.charter() is None


async def test_what_is_not_finite_does_not_hide_the_rest(trainers: Trainers) -> None:
    leader = await running(trainers)
    report = (
        b'{"progress": {"step": 7, "members": ["w1", "w2"]}, "latest": [{"step": 7, "values": {"a": null, "b": 1}}]}'
    )
    await trainers.stage.etcd.put(keys.training_report("job-1"), report)
    await leader.look(3)
    job = await trainers.stage.job()
    assert progressed(job).step == 7
    assert [(m.step, m.values) for m in job.measurements] == [(7, {"b": 1.0})]


async def test_what_another_control_process_does_not_know_yet_stays_known(trainers: Trainers) -> None:
    leader = await running(trainers)
    await trainers.report(TrainingReport(TrainingProgress(6, 10, members=("w1", "w2"), checkpoint_step=5)))
    await leader.look(3)
    await trainers.report(TrainingReport(TrainingProgress(members=("w1", "w2"))))
    await leader.look(3)
    progress = progressed(await trainers.stage.job())
    assert (progress.step, progress.steps, progress.checkpoint_step) == (6, 10, 5)


async def test_what_was_reported_before_a_pause_is_gone_when_it_goes_on(trainers: Trainers) -> None:
    leader = await running(trainers)
    await wish(trainers, lifecycle.pause)
    for _ in range(4):
        await leader.look()
        await trainers.work()
    assert await trainers.stage.etcd.get(keys.training_report("job-1"))
    await wish(trainers, lifecycle.resume)
    await leader.look(3)
    charter = await trainers.charter()
    assert charter
    assert charter.stop == ""
    assert await trainers.stage.etcd.get(keys.training_report("job-1")) is None


async def test_another_leader_leaves_nothing_of_what_the_one_before_has_wished_for(trainers: Trainers) -> None:
    await running(trainers)
    heir = await trainers.stage.lead()
    await trainers.until_over(heir)
    await heir.look(3)
    assert await trainers.left() == []


async def test_a_script_may_leave_no_version_and_says_so(trainers: Trainers) -> None:
    script = replace(SPEC, code=Code(Artifact(CODE), "train.py"), steps=0)
    await trainers.submit(script)
    leader, trainers.holds = await trainers.stage.lead(), True
    for _ in range(20):
        await leader.look()
        await trainers.work()
    assert (await trainers.stage.job()).state is JobState.RUNNING
    for finished in (TrainingReport(), TrainingReport(finished="it has left nothing")):
        await trainers.report(finished)
        await leader.look()
        await leader.look()
    job = await trainers.stage.job()
    assert (job.state, job.version, job.reason) == (JobState.SUCCEEDED, "", "it has left nothing")
    await leader.look()
    assert await trainers.left() == []


async def test_a_recipe_without_a_version_is_not_at_its_end(trainers: Trainers) -> None:
    trainers.version = ""
    await trainers.submit()
    leader = await trainers.stage.lead()
    for _ in range(60):
        await leader.look()
        await trainers.work()
    assert (await trainers.stage.job()).state is JobState.FINISHING
