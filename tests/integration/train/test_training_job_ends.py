"""Jobs that train and do not come to their end by themselves: paused and cancelled."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from modelyard.aio import Client
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests.integration.serving.conftest import TIMEOUT_S, client
from tests.integration.train import gated
from tests.integration.train.workshop import columns
from tests.waiting import eventually

__all__ = ["client"]
NAME = "trained-ends"
pytestmark = pytest.mark.timeout(300)


async def begin(client: Client, directory: Path) -> Job:
    """A job that goes on for long."""
    code, gate = directory / "code", directory / "gate"
    code.mkdir()
    gate.mkdir()
    shutil.copy(gated.__file__, code / "recipe.py")
    options = TrainingJobOptions(
        parameters={"gate": str(gate)}, target="number", epochs=1_000_000, batch_size=13, workers=2
    )
    return await client.jobs.train(NAME, code, columns(), options)


async def is_so(client: Client, job: Job, *states: JobState) -> bool:
    return (await client.jobs.get(job)).state in states


async def nothing_is_placed(client: Client, job: Job) -> bool:
    return not any(job.id in name for worker in await client.workers() for name in worker.placements)


async def has_trained(client: Client, job: Job, step: int) -> bool:
    going = (await client.jobs.get(job)).progress.training
    return going is not None and going.step > step and len(going.members) == 2


@pytest.mark.chaos
async def test_it_is_paused_goes_on_and_is_cancelled(client: Client, tmp_path: Path) -> None:
    job = await begin(client, tmp_path)
    (tmp_path / "gate" / "open").touch()
    await eventually(partial(has_trained, client, job, 0), TIMEOUT_S)
    await client.jobs.pause(job)
    await eventually(partial(nothing_is_placed, client, job), TIMEOUT_S)
    paused = await client.jobs.get(job)
    assert paused.state is JobState.PAUSED
    assert paused.progress.training
    saved = paused.progress.training.checkpoint_step
    assert saved >= paused.progress.training.step > 0
    await client.jobs.resume(job)
    await eventually(partial(has_trained, client, job, saved), TIMEOUT_S)
    logs = b"".join([part.data async for part in client.jobs.logs(job)]).decode()
    assert logs.count("at the gate") == 4
    await client.jobs.cancel(job)
    await eventually(partial(is_so, client, job, JobState.CANCELLED), TIMEOUT_S)
    await eventually(partial(nothing_is_placed, client, job), TIMEOUT_S)
