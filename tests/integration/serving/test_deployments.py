"""Deployments: versions, aliases, replicas, and what a user sees of them."""

from __future__ import annotations

import asyncio

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelyard.aio import Client
from modelyard.errors import NotFoundError, PreconditionError, UnavailableError
from modelyard.oip.tensors import Array
from tests import models
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite
from tests.waiting import eventually


def constant(number: float) -> onnx.ModelProto:
    """Adds a number: x FP32 [-1] -> y FP32 [-1]."""
    node = onnx.helper.make_node("Add", ["x", "number"], ["y"])
    weight = numpy_helper.from_array(np.array([number], np.float32), "number")
    return models.build([node], [models.tensor("x", "FP32", [-1])], [models.tensor("y", "FP32", [-1])], [weight])


X: dict[str, Array] = {"x": np.zeros(1, np.float32)}


async def answer(client: Client, name: str) -> float:
    return float((await client.infer(name, X))["y"][0])


async def test_two_versions_side_by_side(client: Client, bench: Workbench) -> None:
    await bench.serve("pair", constant(1))
    await bench.serve("pair", constant(2))
    await eventually(lambda: _is(client, "pair", 2))
    assert [await answer(client, n) for n in ("pair", "pair@1", "pair@2")] == [2, 1, 2]
    result = await client.infer_result("pair", X)
    assert (result.model, result.version) == ("pair", "2")
    assert (await client.metadata("pair")).versions == ("1", "2")
    assert await client.undeploy("pair@2") == ["2"]
    await eventually(lambda: _is(client, "pair", 1))
    with pytest.raises(PreconditionError, match="model 'pair@2': registered but not deployed"):
        await client.infer("pair@2", X)
    await client.deploy("pair@2")
    await eventually(lambda: _is(client, "pair", 2))
    assert await client.undeploy("pair") == ["1", "2"]
    assert "pair" not in {d.model for d in await client.deployments()}


async def _is(client: Client, name: str, expected: float) -> bool:
    return await answer(client, name) == expected


async def test_the_newest_answers_also_when_an_older_one_is_deployed_later(client: Client, bench: Workbench) -> None:
    await bench.push("older", constant(1))
    await bench.serve("older", constant(2))
    await client.deploy("older", "1")
    assert await answer(client, "older") == 2


async def test_by_alias(client: Client, bench: Workbench) -> None:
    await bench.push("named", constant(1))
    await bench.push("named", constant(2))
    await client.set_alias("named", "prod", "1")
    assert (await client.deploy("named@prod")).version == "1"
    assert await answer(client, "named@prod") == 1
    assert await answer(client, "named") == 1
    assert await client.model_ready("named", "prod")
    assert (await client.metadata("named@prod")).versions == ("1",)
    assert (await client.deployment("named@prod")).version == "1"
    await client.set_alias("named", "prod", "2")

    async def moved() -> bool:  # front doors follow etcd
        return not any(await asyncio.gather(*(client.model_ready("named@prod") for _ in range(10))))

    await eventually(moved)
    with pytest.raises(PreconditionError, match="model 'named@2': registered but not deployed"):
        await client.infer("named@prod", X)
    await client.deploy("named@prod")
    assert await answer(client, "named@prod") == 2
    assert await client.undeploy("named@prod") == ["2"]


async def test_undeploy_and_deploy_again(client: Client, bench: Workbench) -> None:
    await bench.serve("again", constant(1), replicas=2)
    before = {i.endpoint for i in (await client.deployment("again")).instances}
    for _ in range(2):
        await client.undeploy("again")
        await eventually(lambda: _gone(client, "again"))
        with pytest.raises(PreconditionError):
            await client.infer("again", X)
        await client.deploy("again", replicas=2)
        assert await answer(client, "again") == 1
    assert before.isdisjoint({i.endpoint for i in (await client.deployment("again")).instances})


async def _gone(client: Client, name: str) -> bool:
    """Whether no worker has it any more."""
    return not any(p.startswith(f"{name}@") for w in await client.workers() for p in w.placements)


async def test_more_replicas_than_workers(client: Client, bench: Workbench) -> None:
    await bench.push("many", constant(1))
    await client.deploy("many", replicas=5, wait=False)

    async def as_many_as_fit() -> bool:
        return (await client.deployment("many")).ready_replicas == 2

    await eventually(as_many_as_fit)
    with pytest.raises(UnavailableError, match=r"many@1.*3 replicas not placed"):
        await client.deploy("many", replicas=5, timeout_s=3)
    assert await answer(client, "many") == 1
    findings = await client.explain("many")
    assert findings[0].startswith("many@1: 2 of 5 replicas READY; each needs ")
    assert findings[1:3] == ["worker-0: READY", "worker-1: READY"]
    assert findings[3] == "3 replicas not placed; each is to be on a worker of its own"
    status = await client.deploy("many", replicas=1)
    assert status.replicas == 1
    await eventually(lambda: _instances(client, "many", 1))
    assert await answer(client, "many") == 1


async def _instances(client: Client, name: str, count: int) -> bool:
    return len((await client.deployment(name)).instances) == count


async def test_replicas_share_the_calls(client: Client, bench: Workbench) -> None:
    await bench.serve("shared", constant(1), replicas=2)
    workers: set[str] = set()

    async def both_have_answered() -> bool:
        workers.add((await client.infer_result("shared", X)).worker)
        return workers == {"worker-0", "worker-1"}

    await eventually(both_have_answered)


async def test_the_tenant_is_recorded_and_stays(running_suite: RunningSuite, client: Client, bench: Workbench) -> None:
    await bench.serve("owned", constant(1))
    assert (await client.model("owned")).tenant == "acme"
    assert (await client.version("owned", "1")).tenant == "acme"
    async with Client(running_suite.address, tenant="other") as other:
        await other.deploy("owned")
    deployed = await client.deployment("owned")
    assert deployed.tenant == "acme"
    assert deployed.create_time_s > 0


async def test_logs_of_all_workers_and_versions(client: Client, bench: Workbench) -> None:
    await bench.push("broken", models.unimplemented())
    await client.deploy("broken", replicas=2, wait=False)
    await bench.serve("broken", constant(1))

    async def failed_twice() -> bool:
        return [i.state for i in (await client.deployment("broken", "1")).instances] == ["FAILED"] * 2

    await eventually(failed_twice)
    parts = [p async for p in client.logs("broken")]
    assert {(p.worker, p.version) for p in parts if b"load failed" in p.data} == {("worker-0", "1"), ("worker-1", "1")}
    tail = [p.data async for p in client.logs("broken", "1", tail_bytes=100)]
    assert [len(data) for data in tail] == [100, 100]
    with pytest.raises(NotFoundError):
        _ = [p async for p in client.logs("nobody")]


async def test_server_and_model_metadata(client: Client, bench: Workbench) -> None:
    await bench.serve("described", models.sum_and_difference())
    metadata = await client.metadata("described")
    assert (metadata.name, metadata.versions, metadata.platform) == ("described", ("1",), "onnxruntime_onnx")
    assert [str(t) for t in metadata.signature.inputs] == ["a: INT32 [-1, 16]", "b: INT32 [-1, 16]"]
    assert [str(t) for t in metadata.signature.outputs] == ["sum: INT32 [-1, 16]", "difference: INT32 [-1, 16]"]
    server = await client.server_metadata()
    assert (server.name, await client.live(), await client.ready()) == ("modelyard", True, True)
    assert await client.model_ready("described")
    assert not await client.model_ready("nobody")


async def test_what_is_deployed_counts_against_the_memory(client: Client, bench: Workbench) -> None:
    await bench.serve("counted", constant(1), replicas=2)
    need = (await client.deployment("counted")).resources.memory_bytes
    assert need > 0
    for worker in await client.workers():
        assert "counted@1" in worker.placements
        assert worker.reserved_bytes >= need
        assert (worker.cpu > 0, worker.memory_bytes > 0, bool(worker.address)) == (True, True, True)
