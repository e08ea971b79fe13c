"""Deploy and undeploy on a real etcd: what is written, and what happens when others write at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Resources
from modelyard.deployment import Deployment, Instance, InstanceState, Placement, Worker
from modelyard.errors import AbortedError, ExhaustedError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Etcd, Put
from modelyard.names import ModelVersion
from modelyard.reservation import RUNNER_BYTES
from modelyard_scheduler.load import estimate
from modelyard_scheduler.orders import Order
from modelyard_scheduler.rollout import ready_replicas
from modelyard_scheduler.service import ATTEMPTS, Deployments
from modelyard_scheduler.state import State
from tests.integration.serving.catalogue import GIB, Catalogue, stored, version


@pytest.fixture
async def catalogue(etcd: Etcd) -> Catalogue:
    found = Catalogue(etcd)
    await found.publish(version("1"))
    return found


@pytest.fixture
def deployments(etcd: Etcd, catalogue: Catalogue) -> Deployments:
    return Deployments(etcd, State(etcd, lambda: None), catalogue.find)


def test_the_need_is_what_is_stated_or_else_estimated() -> None:
    assert estimate(version(size_bytes=1000)).memory_bytes == RUNNER_BYTES + 2000
    stated = Resources(cpu=2, memory_bytes=5 * GIB, gpu=1)
    assert estimate(version(resources=stated)) == stated
    assert estimate(version(resources=Resources(cpu=2))) == Resources(cpu=2, memory_bytes=RUNNER_BYTES + 2000)


async def test_what_is_declared_is_what_is_stored(etcd: Etcd, deployments: Deployments) -> None:
    made = await deployments.deploy(Order("m", "", 2), "acme")
    assert await stored(etcd) == {"m@1": made}
    assert (made.replicas, made.tenant, made.manifest_digest, made.version_time_s) == (2, "acme", "d" * 64, 1.0)
    changed = await deployments.deploy(Order("m", "1", 3), "other")
    assert changed == replace(made, replicas=3)
    assert await stored(etcd) == {"m@1": changed}
    assert (await deployments.deploy(Order("m", "1", 0), "acme")).replicas == 1


@pytest.mark.parametrize("replicas", [-1, 1001])
async def test_replicas_out_of_range(replicas: int, etcd: Etcd, deployments: Deployments) -> None:
    with pytest.raises(InvalidInputError, match=f"expected 1 to 1000, got {replicas}"):
        await deployments.deploy(Order("m", "", replicas), "acme")
    assert await stored(etcd) == {}


async def test_a_version_that_is_deleted_meanwhile_is_not_deployed(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments
) -> None:
    async def delete() -> None:
        catalogue.before_answer = None
        await catalogue.delete("1")

    catalogue.before_answer = delete
    with pytest.raises(NotFoundError):
        await deployments.deploy(Order("m", "1", 1), "acme")
    assert await stored(etcd) == {}


async def test_what_is_deleted_is_not_deployed(etcd: Etcd, catalogue: Catalogue, deployments: Deployments) -> None:
    await catalogue.publish(version("1", state=Lifecycle.DELETED))
    with pytest.raises(PreconditionError, match="m@1: it is deleted"):
        await deployments.deploy(Order("m", "1", 1), "acme")
    catalogue.model = Model("m", state=Lifecycle.DELETED)
    await catalogue.publish(version("1"))
    with pytest.raises(PreconditionError, match="'m': it is deleted"):
        await deployments.deploy(Order("m", "1", 1), "acme")
    assert not await stored(etcd)


@pytest.mark.parametrize("key", [keys.model("m"), keys.version("m", "1")])
async def test_what_is_deleted_meanwhile_is_not_deployed(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    get = etcd.get

    async def overtaken(asked: str) -> object:
        found = await get(asked)
        if asked.startswith(keys.DEPLOYMENTS):
            if key == keys.model("m"):
                await etcd.put(key, codec.encode(Model("m", state=Lifecycle.DELETED)))
            else:
                await catalogue.publish(version(state=Lifecycle.DELETED))
        return found

    monkeypatch.setattr(etcd, "get", overtaken)
    with pytest.raises(PreconditionError, match="it is deleted"):
        await deployments.deploy(Order("m", "1", 1), "acme")
    assert not await stored(etcd)


async def test_what_is_deployed_is_what_the_registry_said(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments
) -> None:
    async def published_anew() -> None:
        catalogue.before_answer = None
        await catalogue.publish(version("1", manifest_digest="e" * 64))

    catalogue.before_answer = published_anew
    assert (await deployments.deploy(Order("m", "1", 1), "acme")).manifest_digest == "e" * 64


async def test_any_number_of_versions_is_undeployed_at_once(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments
) -> None:
    for number in range(1, 140):
        await etcd.put(
            keys.deployment("m", str(number)),
            codec.encode(Deployment("m", str(number), 1, Resources(), "d" * 64, "onnx")),
        )
    assert len(await deployments.undeploy("m", "")) == 139
    assert not await stored(etcd)


async def test_who_is_deployed_anew_is_ended_by_none_of_any_number(etcd: Etcd, deployments: Deployments) -> None:
    first = await deployments.deploy(Order("m", "1"), "acme")
    later = [replace(first, version=f"v{n}", replaces=("0", "1")) for n in range(250)]
    for some in (later[:100], later[100:200], later[200:]):
        await etcd.commit([], [Put(keys.deployment("m", d.version), codec.encode(d)) for d in some])
    await deployments.deploy(Order("m", "1", 2), "acme")
    held = await stored(etcd)
    assert len(held) == 251
    assert held.pop("m@1").replicas == 2
    assert {d.replaces for d in held.values()} == {("0",)}


async def test_many_who_deploy_at_once_all_succeed(etcd: Etcd, deployments: Deployments) -> None:
    made = await asyncio.gather(*(deployments.deploy(Order("m", "1", n), "acme") for n in range(1, 9)))
    (left,) = (await stored(etcd)).values()
    assert left in made
    assert len({d.create_time_s for d in [left, *made]} & {left.create_time_s}) == 1


async def test_a_race_that_is_lost_for_good_is_aborted(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = etcd.get

    async def overtaken(key: str) -> object:
        found = await get(key)
        if key.startswith(keys.DEPLOYMENTS):
            await etcd.put(key, codec.encode(Deployment("m", "1", 1, Resources(), "d" * 64, "onnx")))
        return found

    monkeypatch.setattr(etcd, "get", overtaken)
    with pytest.raises(AbortedError, match="deployment 'm': others keep changing it"):
        await deployments.deploy(Order("m", "1", 5), "acme")
    assert catalogue.asked == ATTEMPTS


async def test_what_fits_on_no_worker_is_refused_and_without_workers_it_waits(etcd: Etcd, catalogue: Catalogue) -> None:
    state = State(etcd, lambda: None)
    deployments = Deployments(etcd, state, catalogue.find)
    await catalogue.publish(version("2", resources=Resources(memory_bytes=3 * GIB)))
    await deployments.deploy(Order("m", "2", 1), "acme")
    await deployments.undeploy("m", "2")
    for index in range(7):
        state.workers.items[f"w{index}"] = Worker(f"w{index}", "127.0.0.1:1", 1.0, 2 * GIB, "")
    with pytest.raises(ExhaustedError) as caught:
        await deployments.deploy(Order("m", "2", 1), "acme")
    assert caught.value.message.startswith(
        "m@2: no live worker can hold it: w0: needs 3 GiB of memory, it has 2 GiB; w1: "
    )
    assert caught.value.message.count("needs") == 5
    state.workers.items["w9"] = Worker("w9", "127.0.0.1:1", 1.0, 3 * GIB, "")
    assert (await deployments.deploy(Order("m", "2", 1), "acme")).version == "2"


async def test_what_jobs_want_loaded_is_selected_too(etcd: Etcd, catalogue: Catalogue) -> None:
    state = State(etcd, lambda: None)
    deployments = Deployments(etcd, state, catalogue.find)
    for number in ("1", "2"):
        await catalogue.publish(version(number))
    state.wishes.items["m@2/job"] = Deployment("m", "2", 1, Resources(), "d", "onnx", version_time_s=2.0)
    assert [d.version for d in await deployments.select("m", "")] == ["2"]
    with pytest.raises(NotFoundError, match="m@1: not deployed"):
        await deployments.select("m", "1")
    await deployments.deploy(Order("m", "1", 1), "acme")
    assert {d.version for d in await deployments.select("m", "")} == {"1", "2"}
    assert [d.version for d in await deployments.select("m", "2")] == ["2"]


async def test_undeploying_one_or_all(etcd: Etcd, catalogue: Catalogue, deployments: Deployments) -> None:
    for number in ("1", "2", "10"):
        await catalogue.publish(version(number))
        await deployments.deploy(Order("m", number, 1), "acme")
    await etcd.put(keys.deployment("m2", "1"), codec.encode(Deployment("m2", "1", 1, Resources(), "d", "onnx")))
    assert await deployments.undeploy("m", "1") == ["1"]
    with pytest.raises(NotFoundError, match="m@1: not deployed"):
        await deployments.undeploy("m", "1")
    assert (await deployments.get("m", "")).version == "10"
    assert [d.version for d in await deployments.select("m", "")] == ["2", "10"]
    assert [d.version for d in await deployments.select("m", "2")] == ["2"]
    assert set(await deployments.undeploy("m", "")) == {"2", "10"}
    with pytest.raises(NotFoundError, match="model 'm': not deployed"):
        await deployments.undeploy("m", "")
    with pytest.raises(NotFoundError, match="m@2: not deployed"):
        await deployments.get("m", "2")
    with pytest.raises(NotFoundError):
        await deployments.select("m", "")
    assert set(await stored(etcd)) == {"m2@1"}
    for call in (deployments.get("a/b", ""), deployments.undeploy("", ""), deployments.select("x" * 129, "")):
        with pytest.raises(InvalidInputError):
            await call


async def test_explaining_what_is_registered_only(etcd: Etcd, catalogue: Catalogue) -> None:
    state = State(etcd, lambda: None)
    deployments = Deployments(etcd, state, catalogue.find)
    state.workers.items["big"] = Worker("big", "127.0.0.1:1", 1.0, 64 * GIB, "")
    state.workers.items["small"] = Worker("small", "127.0.0.1:1", 1.0, 1 << 20, "")
    assert await deployments.explain("m", "") == [
        "m@1: registered, not deployed",
        "big: could hold it",
        "small: needs 128 MiB of memory, it has 1 MiB",
    ]
    with pytest.raises(NotFoundError):
        await deployments.explain("nobody", "")


async def test_ready_replicas_are_those_that_answer(etcd: Etcd, catalogue: Catalogue) -> None:
    state = State(etcd, lambda: None)
    deployments = Deployments(etcd, state, catalogue.find)
    made = await deployments.deploy(Order("m", "", 3), "acme")
    for index, kind in enumerate((InstanceState.READY, InstanceState.FAILED, InstanceState.READY)):
        state.instances.items[f"w{index}/m@1"] = Instance("m", "1", f"w{index}", kind)
    state.instances.items["w0/m@2"] = Instance("m", "2", "w0", InstanceState.READY)
    assert ready_replicas(made, state.instances_of(ModelVersion("m", "1"))) == 2
    state.placements.items["w0/m@1"] = Placement("m", "1", "w0", "d", "onnx", Resources(memory_bytes=GIB), 1)
    assert state.load().reserved == {}  # its worker is not live


async def test_a_record_that_cannot_be_read_hides_no_other_and_can_be_undeployed(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments
) -> None:
    await etcd.put(keys.deployment("m", "9"), b'{"model": "m"}')
    made = await deployments.deploy(Order("m", "1", 1), "acme")
    assert list(await deployments.all()) == [made]
    assert await deployments.of_model("m") == {"1": made}
    await etcd.put(keys.deployment("m", "1"), b"{")
    assert (await deployments.deploy(Order("m", "1", 1), "acme")).tenant == "acme"
    assert await deployments.undeploy("m", "9") == ["9"]
    assert list(await deployments.of_model("m")) == ["1"]
