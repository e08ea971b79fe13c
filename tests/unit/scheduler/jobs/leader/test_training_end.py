"""How training jobs end: their names are theirs, what they have made is released, what they took is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Model
from modelyard.deployment import Deployment
from modelyard.errors import AbortedError, NotFoundError, UnavailableError
from modelyard.jobs import lifecycle
from modelyard.jobs.release import description
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Release
from modelyard.jobs.training_progress import TrainingReport
from tests.unit.scheduler.jobs.leader.trainers import SPEC, Trainers
from tests.unit.scheduler.jobs.term import VERSION, Leading, Stage

RELEASED = replace(SPEC, release=Release("best", deploy=True, if_better=True))


@pytest.fixture
async def trainers(stage: Stage) -> Trainers:
    """Of a job whose version the registry has."""
    await stage.etcd.put(keys.version("new", "1"), b"{}")
    stage.version = replace(VERSION, model="new", etag="0")
    return Trainers(stage)


async def publish(stage: Stage, said: str = "") -> None:
    """Have the registry tell of a version, which is where who deploys it looks."""
    version = replace(VERSION, model="new", etag="", description=said)
    await stage.etcd.put(keys.version("new", "1"), codec.encode(version))
    found = await stage.etcd.get(keys.version("new", "1"))
    assert found
    stage.version = replace(version, etag=str(found.mod_revision))


async def model(stage: Stage) -> Model | None:
    found = await stage.etcd.get(keys.model("new"))
    return codec.decode(Model, found.value) if found else None


async def deployed(stage: Stage) -> list[Deployment]:
    found = (await stage.etcd.list(keys.deployments("new"))).items
    return [codec.decode(Deployment, kv.value) for kv in found.values()]


async def test_the_name_is_reserved_and_let_go_where_nothing_came_of_it(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    await leader.look(4)
    reserved = await model(stage)
    assert reserved
    assert (reserved.tenant, reserved.create_time_s) == ("default", (await stage.job()).create_time_s)
    await trainers.place()
    await trainers.report(TrainingReport(failed="it raised"))
    assert (await trainers.until_over(leader)).state is JobState.FAILED
    assert await model(stage) is None


async def test_a_model_of_a_later_release_keeps_no_job_from_its_end(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    await leader.look(4)
    await trainers.place()
    await stage.etcd.put(keys.model("new"), b"of a later release")
    await trainers.report(TrainingReport(failed="it raised"))
    assert (await trainers.until_over(leader)).state is JobState.FAILED
    assert await trainers.left() == []


@pytest.mark.parametrize("changed", [True, False])
async def test_what_somebody_has_made_of_a_reserved_name_stays(stage: Stage, changed: bool) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    await leader.look(4)
    if changed:
        await stage.etcd.put(keys.model("new"), codec.encode(Model("new", "described", create_time_s=1.0)))
    else:
        await stage.etcd.put(keys.version("new", "1"), b"{}")
    await trainers.place()
    await trainers.report(TrainingReport(failed="it raised"))
    await trainers.until_over(leader)
    assert await model(stage)


async def test_a_name_that_another_job_needs_too_is_handed_on(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    await leader.look(4)
    await trainers.submit(name="job-2")
    stage.now_s += 1
    await trainers.submit(replace(SPEC, model="other"), name="job-3")
    await leader.look(4)
    for ended, heir in (("job-1", "job-2"), ("job-2", "")):
        await stage.records.change(ended, lambda job: replace(job, state=JobState.FAILED, end_time_s=1.0))
        await leader.look(8)
        left = await model(stage)
        assert (left.create_time_s if left else None) == ((await stage.job(heir)).create_time_s if heir else None)
    assert await stage.etcd.get(keys.model("other"))


async def test_who_registers_the_name_in_the_same_moment_is_heard(stage: Stage) -> None:
    trainers = Trainers(stage)
    await trainers.submit()
    leader = await stage.lead()
    commit, etcd = leader.context.backends.etcd.commit, stage.etcd

    async def slow(*arguments: Any) -> object:
        if not await model(stage):
            await etcd.put(keys.model("new"), codec.encode(Model("new", tenant="acme")))
        return await commit(*arguments)

    leader.context.backends.etcd._to = Overtaken(etcd, slow)  # type: ignore[attr-defined]
    job = await trainers.until_over(leader)
    assert (job.state, job.reason) == (
        JobState.FAILED,
        "model 'new': expected one of tenant 'default', it is another's",
    )


class Overtaken:
    """An etcd where somebody is faster."""

    def __init__(self, etcd: object, commit: object) -> None:
        self._etcd = etcd
        self.commit = commit

    def __getattr__(self, name: str) -> object:
        return getattr(self._etcd, name)


async def test_what_was_trained_is_released_before_the_job_has_succeeded(trainers: Trainers) -> None:
    stage = trainers.stage
    await publish(stage)
    await trainers.submit(RELEASED)
    stage.version, version = UnavailableError("no registry is live"), stage.version
    leader = await stage.lead()
    for _ in range(30):
        await leader.look()
        await trainers.work()
    job = await stage.job()
    assert (job.state, job.version, job.reason) == (JobState.FINISHING, "1", "no registry is live")
    assert (await deployed(stage), await trainers.wishes()) == ([], {})
    stage.version = version
    job = await trainers.until_over(leader)
    assert (job.state, job.version) == (JobState.SUCCEEDED, "1")
    assert [one.version for one in await deployed(stage)] == ["1"]


async def test_a_version_of_weights_alone_says_so_in_the_job(trainers: Trainers) -> None:
    await publish(trainers.stage, description("job-1", 0, "onnx: ValueError: odd"))
    await trainers.submit(RELEASED)
    job = await trainers.until_over(await trainers.stage.lead())
    assert job.state is JobState.SUCCEEDED
    assert job.reason == "version 1 is weights only, it could not be exported: onnx: ValueError: odd"
    assert await deployed(trainers.stage) == []


async def test_a_version_that_is_gone_by_then_is_no_failure(trainers: Trainers) -> None:
    trainers.stage.version = NotFoundError("no such version")
    await trainers.submit(RELEASED)
    job = await trainers.until_over(await trainers.stage.lead())
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "no such version")


async def test_a_leader_that_dies_while_it_releases(trainers: Trainers) -> None:
    stage = trainers.stage
    await publish(stage)
    await trainers.submit(RELEASED)
    first = await stage.lead()
    for _ in range(30):
        await first.look()
        await trainers.work()
        if (await stage.job()).state is JobState.FINISHING:
            break
    dying = await stage.lead(1)
    with pytest.raises(ExceptionGroup) as died:
        await dying.look(3)
    assert died.group_contains(AbortedError)
    assert (await stage.job()).state is JobState.FINISHING
    before = await deployed(stage)
    assert [one.version for one in before] == ["1"]
    assert (await trainers.until_over(await stage.lead())).state is JobState.SUCCEEDED
    assert await deployed(stage) == before


async def trains(trainers: Trainers) -> Leading:
    """The leader of a job that has done some steps, and has more to do."""
    await publish(trainers.stage)
    await trainers.submit()
    leader = await trainers.stage.lead()
    for _ in range(6):
        await leader.look()
        await trainers.work(1)
    return leader


async def test_what_members_spend_while_nobody_leads_is_counted_and_after_a_pause_all_of_it(
    trainers: Trainers,
) -> None:
    stage = trainers.stage
    await trains(trainers)
    stage.now_s += 100
    await trainers.work(1)
    leader = await stage.lead()
    await leader.look(2)
    await stage.records.change("job-1", lambda job: lifecycle.pause(job, stage.now_s))
    for _ in range(8):
        await leader.look()
        await trainers.work(1)
    before = await stage.job()
    assert (before.state, before.usage.compute_s) == (JobState.PAUSED, trainers.spent_s)
    assert trainers.spent_s > 200
    await stage.records.change("job-1", lambda job: lifecycle.resume(job, stage.now_s))
    job = await trainers.until_over(await stage.lead())
    assert job.usage.compute_s == before.usage.compute_s + trainers.spent_s


async def test_compute_seconds_of_a_job_that_says_nothing_new(trainers: Trainers) -> None:
    stage = trainers.stage
    leader = await trains(trainers)
    trainers.holds, begin_s, before_s = True, stage.now_s, (await stage.job()).usage.compute_s
    for _ in range(20):
        await leader.look()
        await trainers.work()
    trainers.holds, took_s = False, stage.now_s - begin_s
    job = await trainers.until_over(leader)
    assert job.usage.compute_s - before_s >= 2 * took_s
    assert job.usage.compute_s <= 2 * (job.end_time_s - job.start_time_s)
