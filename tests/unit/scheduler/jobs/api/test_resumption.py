"""Trainings that are submitted to go on from the checkpoint of another job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import InvalidInputError, ModelyardError, NotFoundError, PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import Checkpoint
from tests.unit.jobs.submitted import DIGEST, SPEC
from tests.unit.scheduler.jobs.accepted import Desk

TRAINING = TrainingSpec(
    "new", Code(Artifact(DIGEST), "recipe"), TrainingData(Dataset(inline=b"x\n1\n", kind="csv")), epochs=3, seed=7
)
SCRIPT = TrainingSpec("new", Code(Artifact(DIGEST), "train.py"), TrainingData())
SAVED = Checkpoint(DIGEST, 12, 2, 5)


async def trained(desk: Desk, checkpoint: Checkpoint | None = SAVED, training: TrainingSpec = TRAINING) -> Job:
    """A job that was trained for a while."""
    job = await desk.submit("first", JobSpec(training=training))
    return (await desk.becomes(job.id, checkpoint=checkpoint)).job


async def resume(desk: Desk, source: str, tenant: str = "acme", **changes: Any) -> Job:
    spec = JobSpec(training=replace(TRAINING, **{"resume_from": source, **changes}))
    return await desk.submit("second", spec, tenant)


async def test_it_has_the_checkpoint_which_is_held_for_it() -> None:
    desk = Desk()
    source = await trained(desk)
    job = await resume(desk, source.id, batch_size=8, max_workers=2, code=Code(Artifact(DIGEST), "mended"))
    assert job.checkpoint == SAVED
    assert desk.registry.held[-1] == (DIGEST, "acme", job.id)
    assert job.id != source.id
    await desk.becomes(source.id, checkpoint=Checkpoint("0" * 64, 13))
    assert await resume(desk, source.id, batch_size=8, max_workers=2, code=Code(Artifact(DIGEST), "mended")) == job


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seed": 8}, InvalidInputError, "expected the same seed, 7; got 8"),
        ({"data": replace(TRAINING.data, held_out=0.5)}, InvalidInputError, "expected the same data"),
        ({"data": TrainingData(Dataset(inline=b"x\n2\n", kind="csv"))}, InvalidInputError, "expected the same data"),
        ({"epochs": 2}, PreconditionError, "left until epoch 2, but .* has 12 steps and 2 epochs"),
        ({"epochs": 0, "steps": 12}, PreconditionError, "left until step 12"),
        ({"source": "job-of-nobody"}, NotFoundError, "no job job-of-nobody"),
        ({"source": "no/name"}, InvalidInputError, "job name 'no/name'"),
        ({"tenant": "other"}, NotFoundError, "no job job-"),
        (
            {"code": SCRIPT.code, "epochs": 0, "seed": 0},
            InvalidInputError,
            "expected a job that runs a script, got job-",
        ),
    ],
)
async def test_what_it_cannot_go_on_from(changes: dict[str, Any], error: type[ModelyardError], message: str) -> None:
    desk = Desk()
    source = await trained(desk)
    with pytest.raises(error, match=message):
        await resume(desk, **{"source": source.id, **changes})


async def test_a_script_goes_on_from_what_any_script_has_left() -> None:
    desk = Desk()
    source = await trained(desk, Checkpoint(DIGEST, 12, 0, 5), SCRIPT)
    spec = replace(SCRIPT, resume_from=source.id, data=TRAINING.data, code=Code(Artifact(DIGEST), "other.py"))
    job = await desk.submit("second", JobSpec(training=spec))
    assert job.checkpoint == Checkpoint(DIGEST, 12)  # its offset is of the first job
    with pytest.raises(InvalidInputError, match="expected a job that trains a recipe, got job-"):
        await desk.submit("third", JobSpec(training=replace(TRAINING, resume_from=source.id)))


async def test_a_job_without_a_checkpoint_or_of_another_kind() -> None:
    desk = Desk()
    source = await trained(desk, None)
    with pytest.raises(PreconditionError, match=f"job {source.id} has no checkpoint"):
        await resume(desk, source.id)
    batch = await desk.submit("batch", SPEC)
    with pytest.raises(InvalidInputError, match=f"expected a job that trains a recipe, got {batch.id}"):
        await resume(desk, batch.id)


async def test_a_checkpoint_that_is_not_in_the_store_any_more() -> None:
    desk = Desk()
    source = await trained(desk, Checkpoint("0" * 64, 12, 2, 5))
    with pytest.raises(NotFoundError, match="not in the artifact store"):
        await resume(desk, source.id)
