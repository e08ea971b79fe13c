from __future__ import annotations

import pytest

from modelyard.aio import Client
from modelyard.deployment import InstanceOptions, InstanceState, Selector
from modelyard.errors import InvalidInputError, ModelExecutionError, UnavailableError
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


async def test_a_last_look_that_comes_too_late_says_what_stands_in_the_way(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.states = [("LOADING", "")]
    fakes.scheduler.silent = True
    with pytest.raises(UnavailableError, match="digits@1 is not READY in time: no worker has 2 GiB free"):
        await client.deploy("digits", timeout_s=0.5)


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


async def test_all_that_can_be_said_is_sent_and_comes_back(fakes: FakeSuite, client: Client) -> None:
    options = InstanceOptions(2, "cuda", "fp16", 2, "shared", (1, 8), 8, 500, (4,), 10)
    on = Selector(("worker-0",), (("zone", "a"),))
    status = await client.deploy("digits", options=options, on=on, on_demand=True, idle_s=1.5, replace=True)
    assert (status.options, status.on, status.on_demand, status.idle_s) == (options, on, True, 1.5)
    assert status.replaces == ("0",)
    assert not fakes.scheduler.calls["GetDeployment"]  # what is loaded at its first call is not waited for
    await client.deploy("digits", on={"zone": "b"})
    assert dict(fakes.scheduler.ordered.on.labels) == {"zone": "b"}
    assert (await client.deploy("digits")).options == InstanceOptions()
    with pytest.raises(InvalidInputError, match="idle_s: expected a number"):
        await client.deploy("digits", idle_s="soon")  # type: ignore[arg-type]


async def test_a_replacement_is_waited_for_until_the_others_have_ended(fakes: FakeSuite, client: Client) -> None:
    status = await client.deploy("digits@2", replace=True)
    assert status.replaces == ()
    assert fakes.scheduler.calls["GetDeployment"] == 1


async def test_new_options_that_do_not_load_are_reported_while_the_old_ones_answer(
    fakes: FakeSuite, client: Client
) -> None:
    fakes.scheduler.states = [("READY", "old news"), ("READY", "old news"), ("READY", "with the new options: no fp16")]
    with pytest.raises(ModelExecutionError) as caught:
        await client.deploy("digits@1")
    assert caught.value.message == (
        "digits@1 goes on as it was on worker-0: it failed to load with the new options: no fp16"
    )


async def test_memory_and_draining_are_told(client: Client) -> None:
    (instance,) = (await client.deployment("digits")).instances
    assert (instance.memory_bytes, instance.failures) == (256 << 20, 0)
    (worker,) = await client.workers()
    assert worker.draining
