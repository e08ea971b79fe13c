"""`down` then `up` in the same directory: every model and every deployment is there again, and a training goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modelyard.aio import Client
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.jobs.training import Checkpoints
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from tests import models
from tests.integration.train import gated
from tests.integration.train.workshop import SAMPLES, columns
from tests.suites import RunningSuite
from tests.waiting import eventually

TRAINED, STEPS = "numbers", 4
ROWS = np.random.default_rng(3).standard_normal((2, 64)).astype(np.float32)


async def test_down_then_up(suite: Callable[..., RunningSuite], tmp_path: Path) -> None:
    running = suite(workers=2)
    async with Client(running.address, tenant="acme") as client:
        for seed in (1, 2):
            await client.push("mlp", models.save(models.mlp(seed=seed), tmp_path / f"{seed}.onnx"))
        await client.set_alias("mlp", "prod", "1")
        await client.push("idle", models.save(models.identity("FP32"), tmp_path / "idle.onnx"))
        await client.deploy("mlp", "1", timeout_s=60)
        await client.deploy("mlp", "2", replicas=2, timeout_s=60)
        before = await described(client)
        job = await training(client, tmp_path)
    running.down()
    (tmp_path / "gate" / "open").touch()
    running.up()
    async with Client(running.address, tenant="acme", timeout_s=60) as client:
        await eventually(lambda: _all_ready(client))
        assert await described(client) == before
        await expect_trained(client, job)


async def training(client: Client, directory: Path) -> Job:
    """A job of one epoch, which is held up in the midst of it: a step of it or two are in a checkpoint."""
    code, gate = directory / "code", directory / "gate"
    code.mkdir()
    gate.mkdir()
    shutil.copy(gated.__file__, code / "recipe.py")
    options = TrainingJobOptions(
        parameters={"gate": str(gate)}, target="number", batch_size=13, workers=2, checkpoints=Checkpoints(1)
    )
    job = await client.jobs.train(TRAINED, code, columns(), options)

    async def is_saved() -> bool:
        found = await client.jobs.get(job)
        assert not found.ended, found.reason
        return found.checkpoint is not None

    await eventually(is_saved, 120)
    return job


async def expect_trained(client: Client, job: Job) -> None:
    """It goes on at the exact sample: each of its epoch is in the sums once."""

    async def has_ended() -> bool:
        return (await client.jobs.get(job)).ended

    await eventually(has_ended, 120)
    job = await client.jobs.get(job)
    assert (job.state, job.reason) == (JobState.SUCCEEDED, "")
    assert job.progress.training
    assert (job.progress.training.step, job.progress.training.steps) == (STEPS, STEPS)
    made = await client.version(TRAINED, job.version)
    assert made.metrics["number"] == sum(range(SAMPLES)) / SAMPLES
    assert made.metrics["square"] == sum(n * n for n in range(SAMPLES)) / SAMPLES
    logs = b"".join([part.data async for part in client.jobs.logs(job)]).decode()
    assert '"resumed"' in logs
    assert job.checkpoint
    assert job.checkpoint.step == STEPS


async def _all_ready(client: Client) -> bool:
    return all(d.ready for d in await client.deployments())


async def described(client: Client) -> list[object]:
    """What a user can see that must not change."""
    return [
        [model for model in await client.models() if model.name != TRAINED],
        await client.versions("mlp"),
        [(d.model, d.version, d.replicas, d.tenant, d.create_time_s) for d in await client.deployments()],
        [[name for name in w.placements if "~" not in name] for w in await client.workers()],
        [(await client.infer(f"mlp{v}", {"x": ROWS}))["y"].tobytes() for v in ("", "@1", "@2", "@prod")],
    ]
