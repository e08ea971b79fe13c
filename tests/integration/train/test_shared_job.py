"""Jobs whose ranks share a model, through the API of a running suite: one is killed, and what comes of it serves."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from modelyard.aio import Client
from modelyard.jobs.job import Job
from modelyard.jobs.states import ENDED, JobState
from modelyard.jobs.training import Checkpoints, Parallelism
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.local import run_local
from modelyard.train.options import TrainingOptions
from tests.integration.serving.conftest import TIMEOUT_S, Workbench, bench, client
from tests.integration.train import staged
from tests.integration.train.workshop import SAMPLES, columns, npz
from tests.waiting import eventually

__all__ = ["bench", "client"]
NAME, STEPS = "shared-numbers", 12
pytestmark = pytest.mark.timeout(300)


async def has_ended(client: Client, job: str) -> bool:
    return (await client.jobs.get(job)).state in ENDED


async def begin(client: Client, directory: Path, shape: Parallelism, epochs: int = 3) -> Job:
    """A job that waits at the gate."""
    code, gate = directory / "code", directory / "gate"
    code.mkdir(exist_ok=True)
    gate.mkdir()
    if not (code / "recipe.py").exists():
        shutil.copy(staged.__file__, code / "recipe.py")
    options = TrainingJobOptions(
        parameters={"gate": str(gate)},
        target="number",
        epochs=epochs,
        batch_size=13,
        workers=2,
        parallelism=shape,
        checkpoints=Checkpoints(every_steps=1 if epochs == 3 else 1_000_000),
    )
    return await client.jobs.train(NAME, code, columns(), options)


@pytest.mark.parametrize(
    "shape",
    [
        Parallelism(shard=2),
        pytest.param(Parallelism(tensor=2), marks=pytest.mark.chaos),
        pytest.param(Parallelism(pipeline=2), marks=pytest.mark.chaos),
    ],
    ids=str,
)
async def test_a_rank_is_killed_and_what_was_trained_serves(
    client: Client, bench: Workbench, tmp_path: Path, shape: Parallelism
) -> None:
    bench.names.add(NAME)
    job, gate = await begin(client, tmp_path, shape), tmp_path / "gate"
    await eventually(lambda: len(list(gate.iterdir())) == 2, TIMEOUT_S)
    os.kill(int(next(gate.iterdir()).name), signal.SIGKILL)
    (gate / "open").touch()
    await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
    job = await client.jobs.get(job.id)
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert job.progress.training
    assert (job.progress.training.step, job.progress.training.steps) == (STEPS, STEPS)

    made = await client.version(NAME, job.version)
    numbers = range(SAMPLES)
    assert made.metrics["number"] == sum(numbers) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in numbers) / SAMPLES

    (tmp_path / "data.npz").write_bytes(npz(columns()))
    table = open_table(tmp_path / "data.npz", TableOptions(target="number"))
    alone = run_local(staged.Staged(), table, None, TrainingOptions(epochs=3, batch_size=13))
    inputs, _ = table.batch(numbers)
    await client.deploy(NAME, made.version, timeout_s=TIMEOUT_S)
    (answers,) = (await client.infer(NAME, {made.signature.inputs[0].name: inputs.numpy()})).values()
    assert torch.allclose(torch.tensor(answers), alone.module(inputs), rtol=1e-4, atol=1e-5)


async def nothing_is_placed(client: Client, job: Job) -> bool:
    return not any(job.id in name for worker in await client.workers() for name in worker.placements)


async def has_trained(client: Client, job: Job, step: int) -> bool:
    going = (await client.jobs.get(job)).progress.training
    return going is not None and going.step > step and len(going.members) == 2


@pytest.mark.chaos
async def test_it_is_paused_goes_on_and_is_cancelled(client: Client, tmp_path: Path) -> None:
    job = await begin(client, tmp_path, Parallelism(shard=2), epochs=1_000_000)
    (tmp_path / "gate" / "open").touch()
    await eventually(partial(has_trained, client, job, 0), TIMEOUT_S)
    await client.jobs.pause(job)
    await eventually(partial(nothing_is_placed, client, job), TIMEOUT_S)
    paused = (await client.jobs.get(job)).progress.training
    assert paused
    assert paused.checkpoint_step >= paused.step > 0
    await client.jobs.resume(job)
    await eventually(partial(has_trained, client, job, paused.checkpoint_step), TIMEOUT_S)
    await client.jobs.cancel(job)
    await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
    await eventually(partial(nothing_is_placed, client, job), TIMEOUT_S)
    assert (await client.jobs.get(job)).state is JobState.CANCELLED


@pytest.mark.chaos
async def test_a_model_that_cannot_be_cut_fails_the_job(client: Client, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    source = Path(staged.__file__).read_text().replace("nn.Linear(4, 4)", "nn.BatchNorm1d(4)")
    (tmp_path / "code" / "recipe.py").write_text(source)
    job = await begin(client, tmp_path, Parallelism(pipeline=2))
    await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
    job = await client.jobs.get(job.id)
    assert job.state is JobState.FAILED
    assert "pipeline: expected no batch normalisation" in job.reason
    await eventually(partial(nothing_is_placed, client, job), TIMEOUT_S)
