"""`down` then `up` in the same directory: every model and every deployment is there again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from modelyard.aio import Client
from tests import models
from tests.suites import RunningSuite
from tests.waiting import eventually

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
    running.down()
    running.up()
    async with Client(running.address, timeout_s=60) as client:
        await eventually(lambda: _all_ready(client))
        assert await described(client) == before


async def _all_ready(client: Client) -> bool:
    return all(d.ready for d in await client.deployments())


async def described(client: Client) -> list[object]:
    """What a user can see that must not change."""
    return [
        await client.models(),
        await client.versions("mlp"),
        [(d.model, d.version, d.replicas, d.tenant, d.create_time_s) for d in await client.deployments()],
        [w.placements for w in await client.workers()],
        [(await client.infer(f"mlp{v}", {"x": ROWS}))["y"].tobytes() for v in ("", "@1", "@2", "@prod")],
    ]
