"""A job that trains, through the API of a running suite: a rank is killed in its midst, and what comes of it serves."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from modelyard.aio import Client
from modelyard.jobs.states import ENDED, JobState
from modelyard.jobs.training import Release
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.local import run_local
from modelyard.train.options import TrainingOptions
from tests.integration.serving.conftest import TIMEOUT_S, Workbench, bench, client
from tests.integration.train import gated
from tests.integration.train.workshop import SAMPLES, columns, npz
from tests.waiting import eventually

__all__ = ["bench", "client"]
NAME, STEPS = "trained-numbers", 12
pytestmark = pytest.mark.timeout(300)


async def has_ended(client: Client, job: str) -> bool:
    return (await client.jobs.get(job)).state in ENDED


async def answers_calls(client: Client, version: str) -> bool:
    return (await client.deployment(NAME, version)).ready_replicas == 1


async def test_a_rank_is_killed_and_what_was_trained_serves(client: Client, bench: Workbench, tmp_path: Path) -> None:
    bench.names.add(NAME)
    code, gate = tmp_path / "code", tmp_path / "gate"
    code.mkdir()
    gate.mkdir()
    shutil.copy(gated.__file__, code / "recipe.py")
    options = TrainingJobOptions(
        parameters={"gate": str(gate)},
        target="number",
        epochs=3,
        batch_size=13,
        workers=2,
        min_workers=2,  # the one that is killed comes back
        release=Release("best", deploy=True, if_better=True),
    )
    job = await client.jobs.train(NAME, code, columns(), options)
    await eventually(lambda: len(list(gate.iterdir())) == 2, TIMEOUT_S)
    victim = next(gate.iterdir())
    os.kill(int(victim.name), signal.SIGKILL)
    (gate / "open").touch()
    await eventually(partial(has_ended, client, job.id), TIMEOUT_S)
    job = await client.jobs.get(job.id)
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert job.progress.training
    assert (job.progress.training.step, job.progress.training.steps) == (STEPS, STEPS)

    made = await client.version(NAME, "best")
    assert (made.version, made.lineage.job) == (job.version, job.id)
    numbers = range(SAMPLES)
    assert made.metrics["number"] == sum(numbers) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in numbers) / SAMPLES

    printed = b"".join([part.data async for part in client.jobs.logs(job)])
    assert printed.count(b"at the gate") == 3, printed.decode()  # of both ranks, and of the one that was killed

    (tmp_path / "data.npz").write_bytes(npz(columns()))
    table = open_table(tmp_path / "data.npz", TableOptions(target="number"))
    alone = run_local(gated.Gated(), table, None, TrainingOptions(epochs=3, batch_size=13))
    inputs, _ = table.batch(numbers)
    await eventually(partial(answers_calls, client, made.version), TIMEOUT_S)
    (answers,) = (await client.infer(NAME, {made.signature.inputs[0].name: inputs.numpy()})).values()
    assert torch.allclose(torch.tensor(answers), alone.module(inputs), rtol=1e-4, atol=1e-5)
