from __future__ import annotations

import pytest

from modelyard.aio import Client
from modelyard.deployment import InstanceState
from modelyard.errors import ModelExecutionError, UnavailableError
from tests.unit.fakes import FakeSuite


async def test_deploy_waits_until_all_replicas_answer(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.states = [("LOADING", ""), ("LOADING", ""), ("READY", "")]
    status = await client.deploy("digits@1")
    assert status.ready
    assert [i.state for i in status.instances] == [InstanceState.READY]
    assert fakes.scheduler.calls["GetDeployment"] == 2


async def test_deploy_without_waiting_returns_at_once(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.states = [("LOADING", "")]
    assert not (await client.deploy("digits", wait=False)).ready
    assert not fakes.scheduler.calls["GetDeployment"]


async def test_a_replica_that_fails_is_reported_with_its_reason(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.states = [("LOADING", ""), ("FAILED", "killed by SIGSEGV")]
    with pytest.raises(ModelExecutionError, match="digits@1 failed to load on worker-0: killed by SIGSEGV"):
        await client.deploy("digits")


async def test_a_wait_that_is_too_long_says_what_stands_in_the_way(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.states = [("LOADING", "")]
    with pytest.raises(UnavailableError, match="digits@1 is not READY in time: no worker has 2 GiB free"):
        await client.deploy("digits", timeout_s=0.2)


async def test_what_is_deployed_and_where(client: Client) -> None:
    assert await client.undeploy("digits") == ["1"]
    assert [d.model for d in await client.deployments()] == ["digits"]
    assert (await client.deployment("digits@1")).version == "1"
    (worker,) = await client.workers()
    assert (worker.id, worker.cpu, worker.memory_bytes, worker.placements) == ("worker-0", 4, 8 << 30, ("digits@1",))
    assert await client.explain("digits") == ["no worker has 2 GiB free"]
    assert (await client.endpoints()).registries == ()


async def test_logs_come_worker_by_worker(client: Client) -> None:
    parts = [part async for part in client.logs("digits")]
    assert [(part.worker, part.version, part.data) for part in parts] == [
        ("worker-0", "1", b"loading\nloaded\n"),
        ("worker-1", "1", b"loading\nloaded\n"),
    ]
