"""Deploy in full, on a real etcd: options, selectors, on demand, replacements; and what an end takes with it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import (
    Activity,
    Deployment,
    Eviction,
    InstanceOptions,
    Member,
    Selector,
    Worker,
)
from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard.etcd import Etcd
from modelyard.reservation import RUNNER_BYTES
from modelyard_scheduler.orders import Order
from modelyard_scheduler.service import Deployments
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


SAID: dict[str, Any] = {
    "options": InstanceOptions(threads=2, copies=3, max_batch_size=8),
    "on": Selector(("w0",), (("zone", "a"),)),
    "on_demand": True,
    "idle_s": 30.0,
}


async def test_all_that_is_said_is_stored_and_said_anew(etcd: Etcd, deployments: Deployments) -> None:
    made = await deployments.deploy(Order("m", **SAID), "acme")
    assert {name: getattr(made, name) for name in SAID} == SAID
    assert made.resources.memory_bytes == RUNNER_BYTES + 3 * 2 * 1000
    assert await stored(etcd) == {"m@1": made}
    plain = await deployments.deploy(Order("m"), "acme")
    assert (plain.options, plain.on, plain.on_demand, plain.idle_s) == (InstanceOptions(), Selector(), False, 0.0)
    assert plain.create_time_s == made.create_time_s


async def test_what_makes_no_sense_is_not_stored(etcd: Etcd, deployments: Deployments) -> None:
    with pytest.raises(InvalidInputError, match=r"options.copies: expected 1 to 64, got 65"):
        await deployments.deploy(Order("m", options=InstanceOptions(copies=65)), "acme")
    assert await stored(etcd) == {}


async def test_a_version_replaces_the_others_and_what_is_deployed_anew_is_not_replaced(
    etcd: Etcd, catalogue: Catalogue, deployments: Deployments
) -> None:
    for number in ("2", "3"):
        await catalogue.publish(version(number))
    await deployments.deploy(Order("m", "1"), "acme")
    second = await deployments.deploy(Order("m", "2", replace=True), "acme")
    assert second.replaces == ("1",)
    third = await deployments.deploy(Order("m", "3", replace=True), "acme")
    assert third.replaces == ("1", "2")
    await deployments.deploy(Order("m", "1"), "acme")
    assert {v: d.replaces for v, d in (await stored(etcd)).items()} == {"m@1": (), "m@2": (), "m@3": ("2",)}
    back = await deployments.deploy(Order("m", "2", replace=True), "acme")
    assert back.replaces == ("1", "3")
    assert (await stored(etcd))["m@3"].replaces == ()
    assert (await deployments.deploy(Order("m", "2"), "acme")).replaces == ()


async def test_only_workers_that_are_selected_are_asked_whether_it_fits(etcd: Etcd, catalogue: Catalogue) -> None:
    state = State(etcd, lambda: None)
    deployments = Deployments(etcd, state, catalogue.find)
    await catalogue.publish(version("2", resources=Resources(memory_bytes=3 * GIB)))
    state.workers.items["big"] = Worker("big", "127.0.0.1:1", 1.0, 64 * GIB, "")
    state.workers.items["small"] = Worker("small", "127.0.0.1:1", 1.0, GIB, "", labels={"zone": "a"})
    for on in (Selector(("small",)), Selector((), (("zone", "a"),))):
        with pytest.raises(ExhaustedError, match="m@2: no live worker can hold it: small: needs 3 GiB"):
            await deployments.deploy(Order("m", "2", on=on), "acme")
    with pytest.raises(ExhaustedError, match="big: needs 1 GPUs, it has 0; small: needs 1 GPUs, it has 0"):
        await deployments.deploy(Order("m", "1", options=InstanceOptions(device="cuda")), "acme")
    await deployments.deploy(Order("m", "2", on=Selector(("unknown",))), "acme")
    assert (await deployments.explain("m", "2"))[1:] == ["1 replicas not placed: no scheduler leads"]
    await etcd.put(keys.LEADER, codec.encode(Member("a", "127.0.0.1:1")))
    assert (await deployments.explain("m", "2"))[1:] == [
        "1 replicas not placed; each is to be on a worker of its own",
        "unknown: selected by --on, but no such worker is live",
        "big: not selected by --on worker=unknown",
        "small: not selected by --on worker=unknown",
    ]


async def test_an_end_takes_the_activity_with_it(etcd: Etcd, catalogue: Catalogue, deployments: Deployments) -> None:
    await catalogue.publish(version("2"))
    for number in ("1", "2"):
        await deployments.deploy(Order("m", number, on_demand=True), "acme")
        await etcd.put(keys.activity("m", number), codec.encode(Activity(1.0)))
        await etcd.put(keys.eviction("m", number), codec.encode(Eviction("idle", 1.0)))
    await etcd.put(keys.activity("m2", "1"), codec.encode(Activity(1.0)))
    await deployments.undeploy("m", "1")
    assert set(await etcd.keys(keys.ACTIVITY)) == {keys.activity("m", "2"), keys.activity("m2", "1")}
    assert await etcd.keys(keys.EVICTIONS) == [keys.eviction("m", "2")]
    await etcd.put(keys.deployment("m", "9"), codec.encode(Deployment("m", "9", 1, Resources(), "d", "onnx")))
    await deployments.undeploy("m", "")
    assert await etcd.keys(keys.ACTIVITY) == [keys.activity("m2", "1")]
    assert await etcd.keys(keys.EVICTIONS) == []
