"""Deployments in full, on real processes: options, where, on demand, and one version after another, under traffic."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.aio import Client
from modelyard.deployment import InstanceOptions, InstanceState, Selector
from modelyard.errors import ExhaustedError, InvalidInputError, ModelExecutionError
from tests import models
from tests.integration.serving.conftest import TIMEOUT_S, Workbench
from tests.integration.serving.traffic import ROWS, Traffic
from tests.suites import RunningSuite
from tests.waiting import eventually

BATCHED = InstanceOptions(threads=1, max_batch_size=8, max_queue_delay_us=200, preferred_batch_sizes=(4,))


async def test_options_change_and_versions_follow_each_other_without_a_failed_call(
    running_suite: RunningSuite, client: Client, bench: Workbench
) -> None:
    await bench.serve("rolling", models.mlp(), replicas=2)
    async with Traffic(running_suite.address, clients=2, model="rolling") as traffic:
        status = await client.deploy("rolling", replicas=2, options=BATCHED, timeout_s=TIMEOUT_S)
        assert (status.ready_replicas, status.options) == (2, BATCHED)
        assert all(instance.memory_bytes for instance in status.instances)
        await traffic.answered_by(*(instance.worker for instance in status.instances))
        version = await bench.push("rolling", models.mlp(seed=1))
        status = await client.deploy("rolling", version, replicas=2, options=BATCHED, replace=True, timeout_s=TIMEOUT_S)
        assert [d.version for d in await client.deployments() if d.model == "rolling"] == [version]
        await traffic.answered_by(*(instance.worker for instance in status.instances))
    assert set(traffic.statuses) == {"OK"}, traffic.failures


async def test_options_that_do_not_load_leave_what_was_there(client: Client, bench: Workbench) -> None:
    await bench.serve("stubborn", models.mlp())
    with pytest.raises(ModelExecutionError, match=r"stubborn@1 goes on as it was on worker-\d: it failed to load"):
        await client.deploy("stubborn", options=InstanceOptions(precision="tf32"), timeout_s=TIMEOUT_S)
    assert (await client.infer("stubborn", {"x": ROWS}))["y"].shape == (2, 10)
    assert any("options of before" in finding for finding in await client.explain("stubborn"))
    await client.deploy("stubborn", options=BATCHED, timeout_s=TIMEOUT_S)


async def test_where_it_is_told_to_be(client: Client, bench: Workbench) -> None:
    await bench.push("pinned", models.mlp())
    for worker in ("worker-1", "worker-0"):
        status = await client.deploy("pinned", on=Selector((worker,)), timeout_s=TIMEOUT_S)
        assert status.on.workers == (worker,)
        assert [i.worker for i in status.instances if i.state is InstanceState.READY].count(worker) == 1
        await eventually(lambda: _is_on(client, worker), TIMEOUT_S)  # noqa: B023 (awaited in the loop)
    with pytest.raises(ExhaustedError, match="needs 1 GPUs, it has 0"):
        await client.deploy("pinned", options=InstanceOptions(device="cuda"))
    with pytest.raises(InvalidInputError, match=r"options\.precision: expected one of"):
        await client.deploy("pinned", options=InstanceOptions(precision="int3"))


async def _is_on(client: Client, worker: str) -> bool:
    return {i.worker for i in (await client.deployment("pinned")).instances} == {worker}


async def test_what_is_on_demand_is_loaded_at_its_first_calls(client: Client, bench: Workbench) -> None:
    await bench.push("seldom", models.mlp())
    status = await client.deploy("seldom", on_demand=True, idle_s=600)
    assert (status.on_demand, status.idle_s, status.instances) == (True, 600.0, ())
    assert "on demand: not called so far" in (await client.explain("seldom"))[1]
    answers = await asyncio.gather(*(client.infer("seldom", {"x": ROWS}) for _ in range(20)))
    assert {answer["y"].shape for answer in answers} == {(2, 10)}
    assert (await client.deployment("seldom")).ready
