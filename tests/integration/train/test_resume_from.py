"""A job that is cancelled leaves a checkpoint; another one goes on from it, at the exact sample."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Checkpoints
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests.integration.serving.conftest import TIMEOUT_S, Workbench, bench, client
from tests.integration.train import gated
from tests.integration.train.workshop import SAMPLES, columns
from tests.waiting import eventually

__all__ = ["bench", "client"]
NAME, STEPS = "trained-further", 4
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


async def reaches(client: Client, job: Job, state: JobState) -> Job:
    async def is_so() -> bool:
        found = await client.jobs.get(job)
        assert found.state is state or not found.ended, found.reason
        return found.state is state

    await eventually(is_so, TIMEOUT_S)
    return await client.jobs.get(job)


async def test_a_cancelled_job_is_gone_on_from_by_another(client: Client, bench: Workbench, tmp_path: Path) -> None:
    bench.names.add(NAME)
    code, gate = tmp_path / "code", tmp_path / "gate"
    code.mkdir()
    gate.mkdir()
    shutil.copy(gated.__file__, code / "recipe.py")
    options = TrainingJobOptions(
        parameters={"gate": str(gate)}, target="number", batch_size=13, workers=1, checkpoints=Checkpoints(1)
    )
    job = await client.jobs.train(NAME, code, columns(), options)

    async def is_saved() -> bool:
        return (await client.jobs.get(job)).checkpoint is not None

    await eventually(is_saved, TIMEOUT_S)
    await client.jobs.cancel(job)
    cancelled = await reaches(client, job, JobState.CANCELLED)
    assert cancelled.checkpoint
    assert 0 < cancelled.checkpoint.step < STEPS

    (gate / "open").touch()
    further = replace(options, resume_from=cancelled, workers=2)
    with pytest.raises(InvalidInputError, match="expected the same seed, 0; got 1"):
        await client.jobs.train(NAME, code, columns(), replace(further, seed=1))
    last = await client.jobs.train(NAME, code, columns(), further)
    assert last.checkpoint == cancelled.checkpoint
    last = await reaches(client, last, JobState.SUCCEEDED)
    made = await client.version(NAME, last.version)
    assert made.metrics["number"] == sum(range(SAMPLES)) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in range(SAMPLES)) / SAMPLES
    with pytest.raises(PreconditionError, match=r"left until epoch 1, but the checkpoint of .* has 4 steps"):
        await client.jobs.train(NAME, code, columns(), replace(further, resume_from=last.id))
