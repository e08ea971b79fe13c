from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.catalogue import Resources
from modelyard.errors import (
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Code, Parallelism, TrainingData, TrainingSpec
from modelyard.queue import Caps
from modelyard_scheduler.jobs.api.results import Excerpt, Results
from modelyard_scheduler.jobs.outcomes import Outcomes
from tests.unit.jobs.submitted import DIGEST, SPEC
from tests.unit.scheduler.jobs.accepted import Desk

INLINE = Dataset(inline=b"x\n1\n", kind="csv")


def on(dataset: Dataset, version: str = "1", model: str = "digits") -> JobSpec:
    return replace(SPEC, batch_inference=replace(SPEC.inference, dataset=dataset, version=version, model=model))


async def test_a_job_is_accepted_with_its_version_resolved_and_its_dataset_held() -> None:
    desk = Desk()
    job = await desk.submit(spec=on(SPEC.inference.dataset, "prod"))
    assert (job.tenant, job.state, job.create_time_s) == ("acme", JobState.QUEUED, 1000.0)
    assert job.spec == on(SPEC.inference.dataset, "1")
    assert desk.registry.held == [(DIGEST, "acme", job.id)]
    assert await desk.jobs.get(job.id) == job


TRAINING = TrainingSpec("new", Code(Artifact(DIGEST), "recipe"), TrainingData(INLINE), epochs=1)


async def test_a_training_is_accepted_with_its_code_held_and_its_rows_stored() -> None:
    desk = Desk()
    data = TrainingData(INLINE, Dataset(artifact=Artifact(DIGEST, "rows.npy")))
    job = await desk.submit(spec=JobSpec(training=replace(TRAINING, data=data)))
    assert (job.state, job.spec.model, desk.queue.jobs[job.id].spec.model) == (JobState.QUEUED, "new", "new")
    (stored,) = desk.registry.stored
    assert desk.registry.held == [(DIGEST, "acme", job.id), (stored, "acme", job.id), (DIGEST, "acme", job.id)]
    located = Dataset(artifact=Artifact(stored, "rows.csv"), kind="csv")
    assert job.spec.training == replace(TRAINING, data=replace(data, dataset=located))
    assert [one.manifest_digest for one in job.spec.artifacts] == [DIGEST, stored, DIGEST]
    assert await desk.submit(spec=JobSpec(training=replace(TRAINING, data=data))) == job


@pytest.mark.parametrize(
    ("training", "error", "message"),
    [
        (replace(TRAINING, epochs=0), InvalidInputError, "expected a number of epochs or of steps, got neither"),
        (
            replace(TRAINING, resources=Resources(gpu=2)),
            InvalidInputError,
            "resources: gpu: expected 0 to 1, got 2",
        ),
        (replace(TRAINING, resources=Resources(cpu=-1.0)), InvalidInputError, "resources: cpu: expected a finite"),
        (
            replace(TRAINING, data=TrainingData(INLINE, Dataset(url="s3://other/x.csv"))),
            InvalidInputError,
            "expected a URL below s3://bucket/data",
        ),
        (
            replace(TRAINING, parallelism=Parallelism(tensor=2), max_workers=3),
            InvalidInputError,
            "expected a multiple of 2 ranks, got 3",
        ),
        (replace(TRAINING, code=Code(Artifact("ef" * 32), "recipe")), NotFoundError, "not in the artifact store"),
    ],
)
async def test_a_training_that_is_refused_leaves_no_job(
    training: TrainingSpec, error: type[ModelyardError], message: str
) -> None:
    desk = Desk()
    with pytest.raises(error, match=message):
        await desk.submit(spec=JobSpec(training=training))
    assert not desk.queue.jobs


async def test_a_training_has_no_rows_to_ask_for() -> None:
    desk = Desk()
    job = await desk.submit(spec=JobSpec(training=TRAINING))
    for asking in (desk.letters.page(job.id), desk.letters.retry(job.id)):
        with pytest.raises(PreconditionError, match="what comes of it is a version of 'new'"):
            await asking
    results = Results(desk.records, none_of, None)  # type: ignore[arg-type]
    with pytest.raises(PreconditionError, match="it trains a model and has no rows"):
        await anext(results.read(job.id, Excerpt()))
    results.close()


async def none_of(held: object) -> Outcomes:
    return Outcomes()


async def test_a_training_is_paused_resumed_and_cancelled_by_its_owner() -> None:
    desk = Desk()
    job = await desk.submit(spec=JobSpec(training=TRAINING))
    assert (await desk.jobs.pause(job.id)).state is JobState.PAUSED
    assert (await desk.jobs.resume(job.id)).state is JobState.QUEUED
    assert (await desk.jobs.cancel(job.id)).state is JobState.CANCELLING


async def test_the_same_request_again_has_the_job_of_the_first_even_if_the_registry_is_away() -> None:
    desk = Desk()
    job = await desk.submit()
    await desk.jobs.pause(job.id)
    desk.registry.away = True
    again = await desk.submit()
    assert (again.id, again.state) == (job.id, JobState.PAUSED)
    assert (await desk.submission.submit("acme", "r1", SPEC)).id == job.id
    with pytest.raises(AlreadyExistsError, match="same request id and another spec"):
        await desk.submit(spec=replace(SPEC, priority=1))


async def test_two_at_once_of_one_request_make_one_job() -> None:
    desk = Desk()
    first = await desk.submit()
    # The second call has looked before the first one wrote.
    desk.records.read_all = none  # type: ignore[method-assign, assignment]
    assert await desk.submit() == first
    with pytest.raises(AlreadyExistsError, match="same request id"):
        await desk.submit(spec=replace(SPEC, priority=1))


async def none(jobs: list[str]) -> list[object]:
    return []


async def test_other_tenants_and_calls_without_a_request_id_have_jobs_of_their_own() -> None:
    desk = Desk()
    jobs = [await desk.submit(), await desk.submit(tenant="other"), await desk.submit(""), await desk.submit("")]
    assert len({job.id for job in jobs}) == 4


async def test_inline_rows_are_stored_under_the_name_of_their_kind() -> None:
    desk = Desk()
    job = await desk.submit(spec=on(INLINE))
    artifact = job.spec.inference.dataset.artifact
    assert artifact
    assert artifact.path == "rows.csv"
    assert desk.registry.stored == {artifact.manifest_digest: b"x\n1\n"}
    assert desk.registry.held == [(artifact.manifest_digest, "acme", job.id)]
    assert job.spec.inference.dataset == Dataset(artifact=artifact, kind="csv")
    desk.registry.stored.clear()
    assert await desk.submit(spec=on(INLINE)) == job
    assert not desk.registry.stored


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (on(Dataset()), InvalidInputError, "expected one of artifact, url, inline; got none"),
        (replace(SPEC, priority=10), InvalidInputError, "priority: expected 0 to 9, got 10"),
        (on(SPEC.inference.dataset, model="other"), NotFoundError, "model 'other'"),
        (on(SPEC.inference.dataset, "9"), NotFoundError, "no version or alias '9'"),
        (on(SPEC.inference.dataset, "3"), PreconditionError, "digits@3: it is deleted"),
        (on(Dataset(artifact=Artifact("ef" * 32))), NotFoundError, f"manifest {'ef' * 32}: not in the artifact store"),
        (on(Dataset(artifact=Artifact(DIGEST, "x.npy"))), NotFoundError, "no file 'x.npy'; it has 'rows.npy'"),
        (
            on(Dataset(url="s3://bucket/other/x.npy")),
            InvalidInputError,
            "expected a URL below s3://bucket/data, https://example.org/sets",
        ),
        (on(Dataset(url="s3://bucket/data/../x.npy")), InvalidInputError, "expected a URL below s3://bucket/data"),
    ],
)
async def test_what_is_refused_leaves_no_job(spec: JobSpec, error: type[ModelyardError], message: str) -> None:
    desk = Desk()
    with pytest.raises(error, match=message):
        await desk.submit(spec=spec)
    assert not desk.queue.jobs


async def test_a_url_that_is_allowed_is_accepted() -> None:
    spec = on(Dataset(url="s3://bucket/data/x.npy"))
    assert (await Desk().submit(spec=spec)).spec == spec


@pytest.mark.parametrize("request_id", ["a/b", "x" * 121])
async def test_a_request_id_is_a_name(request_id: str) -> None:
    with pytest.raises(InvalidInputError, match="request name"):
        await Desk().submit(request_id)


async def test_without_a_registry_it_is_unavailable() -> None:
    desk = Desk()
    desk.registry.away = True
    with pytest.raises(UnavailableError):
        await desk.submit()
    assert not desk.queue.jobs


async def test_a_tenant_has_no_more_jobs_than_it_may_and_others_have_theirs() -> None:
    desk = Desk(Caps(jobs=1))
    await desk.submit("r1")
    with pytest.raises(ExhaustedError, match="at most 1") as refused:
        await desk.submit("r2")
    assert refused.value.retry_after_s
    await desk.submit("r2", tenant="other")
