"""Changes of what is served, on a real etcd: options, versions, workers that drain; also when the leader changes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from modelyard import keys
from modelyard.deployment import InstanceOptions
from modelyard.etcd import Etcd
from modelyard_scheduler.eviction import RECENT_S
from tests.integration.serving.cluster import GIB, Agents, Candidate, Cluster, deployment
from tests.waiting import eventually

BATCHED = InstanceOptions(max_batch_size=8)


@pytest.fixture
def cluster(etcd: Etcd) -> Cluster:
    return Cluster(etcd)


@pytest.fixture
async def agents(etcd: Etcd) -> AsyncIterator[Agents]:
    async with Agents(etcd).running() as found:
        yield found


async def lead(etcd: Etcd, name: str, until: Callable[[Candidate], Awaitable[Any]]) -> None:
    """Let a leader decide until something is so; then it is cancelled, wherever it is, and its term ends."""
    async with Candidate(etcd, name).running() as one:
        await until(one)


async def answers(agents: Agents, model: str, replicas: int) -> None:
    await eventually(lambda: agents.answering.get(model, [0])[-1] == replicas)


async def test_options_change_one_by_one_under_three_leaders(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    for n in range(3):
        await cluster.join(f"w{n}")
    await cluster.deploy(deployment("m", 3))
    await lead(etcd, "a", lambda one: answers(agents, "m@1", 3))
    agents.held = {"w0", "w1", "w2"}
    await cluster.deploy(deployment("m", 3, options=BATCHED))

    async def count(expected: int) -> None:
        async def so() -> bool:
            return len(await cluster.changed(BATCHED)) == expected

        await eventually(so)

    await lead(etcd, "a", lambda one: count(1))
    first = await cluster.changed(BATCHED)
    async with Candidate(etcd, "b").running() as one:
        await cluster.deploy(deployment("other"))  # something to decide about
        await eventually(lambda: any(p.model == "other" for p in one.state.placements.items.values()))
        assert await cluster.changed(BATCHED) == first
    agents.release()
    await lead(etcd, "c", lambda one: count(3))
    assert min(agents.answering["m@1"][2:]) == 3


async def test_a_new_version_ends_the_old_one_under_another_leader(
    etcd: Etcd, cluster: Cluster, agents: Agents
) -> None:
    for name in ("w0", "w1"):
        await cluster.join(name)
    await cluster.deploy(deployment("m", 2))
    await lead(etcd, "a", lambda one: answers(agents, "m@1", 2))
    agents.held = {"w1"}
    await cluster.deploy(deployment("m", 2, version="2", replaces=("1",)))
    await lead(etcd, "a", lambda one: answers(agents, "m@2", 1))
    assert set(await cluster.deployed()) == {"m@1", "m@2"}
    agents.release()

    async def replaced(one: Candidate) -> None:
        await answers(agents, "m@1", 0)

    await lead(etcd, "b", replaced)
    (left,) = (await cluster.deployed()).values()
    assert (left.version, left.replaces) == ("2", ())
    assert agents.answering["m@2"] == [1, 2]


async def test_a_version_that_is_deployed_anew_meanwhile_is_not_ended(
    etcd: Etcd, cluster: Cluster, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    await lead(etcd, "a", lambda one: answers(agents, "m@1", 1))
    commit = etcd.commit

    async def overtaken(compares: Any, operations: Any) -> int:
        if any(o.key == keys.deployment("m", "1") for o in operations):  # as Deploy does it
            monkeypatch.setattr(etcd, "commit", commit)
            await cluster.deploy(deployment("m", version="2"), deployment("m"))
        return await commit(compares, operations)

    monkeypatch.setattr(etcd, "commit", overtaken)
    await cluster.deploy(deployment("m", version="2", replaces=("1",)))

    async def let_go(one: Candidate) -> None:
        async def so() -> bool:
            return not (await cluster.deployed())["m@2"].replaces

        await eventually(so)
        await eventually(lambda: not one.state.deployments.items["m@2"].replaces)

    await lead(etcd, "a", let_go)
    assert set(await cluster.deployed()) == {"m@1", "m@2"}


async def test_a_worker_that_drains_is_relieved_by_whoever_leads(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"), deployment("n"))
    await lead(etcd, "a", lambda one: answers(agents, "n@1", 1))
    agents.held = {"w1"}
    await cluster.join("w1")
    await cluster.join("w0", draining=True)
    await lead(etcd, "a", lambda one: cluster.becomes({"m": ["w0", "w1"], "n": ["w0", "w1"]}))
    agents.release()
    await lead(etcd, "b", lambda one: cluster.becomes({"m": ["w1"], "n": ["w1"]}))
    assert min(agents.answering["m@1"]) == min(agents.answering["n@1"]) == 1


async def test_the_last_worker_that_drains_is_released_at_once(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    async with Candidate(etcd, "a").running():
        await cluster.becomes({"m": ["w0"]})
        await cluster.join("w0", draining=True)
        await cluster.becomes({})


async def test_on_demand_is_loaded_evicted_and_loaded_again(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    await cluster.join("w0", memory_bytes=4 * GIB)
    x, y = (deployment(name, memory_bytes=3 * GIB, on_demand=True) for name in "xy")
    await cluster.deploy(x, y)
    async with Candidate(etcd, "a").running() as one:
        await cluster.call("x")
        await answers(agents, "x@1", 1)
        await cluster.call("y")
        uses = one.leader._observer.uses
        await eventually(lambda: len(uses.last) == 2)
        await _seen_ready(one, "x")
        assert await cluster.placed() == {"x": ["w0"]}  # it was used just now
        _age(one, "x", RECENT_S)
        await cluster.becomes({"y": ["w0"]})
        assert await cluster.active() == {"y"}
        assert await cluster.evicted() == {"x@1": "y@1 needed the room"}
        await answers(agents, "x@1", 0)
        await answers(agents, "y@1", 1)
        await cluster.call("x")

        async def nothing_evicted() -> bool:
            return not await cluster.evicted()

        await eventually(nothing_evicted)
        await _seen_ready(one, "y")
        _age(one, "y", RECENT_S)
        await cluster.becomes({"x": ["w0"]})


async def _seen_ready(one: Candidate, model: str) -> None:
    """Until the leader has seen that it answers, which counts as a use."""
    uses = one.leader._observer.uses
    await eventually(lambda: any(v.model == model and use.ready for v, use in uses.last.items()))


def _age(one: Candidate, model: str, idle_s: float) -> None:
    """As if it had not been called for so long."""
    last = one.leader._observer.uses.last
    version = next(v for v in last if v.model == model)
    last[version] = dataclasses.replace(last[version], time_s=last[version].time_s - idle_s)
    one.changed.set()


async def test_another_leader_evicts_by_what_is_written_down(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    await cluster.join("w0", memory_bytes=6 * GIB)
    await cluster.deploy(*(deployment(name, memory_bytes=3 * GIB, on_demand=True) for name in "xy"))
    await cluster.call("x", 1.0)
    await cluster.call("y", 2.0)

    async def both_answer(one: Candidate) -> None:
        for name in ("x@1", "y@1"):
            await answers(agents, name, 1)

    await lead(etcd, "a", both_answer)
    await cluster.deploy(deployment("fixed", memory_bytes=3 * GIB))
    await cluster.call("y", 3.0)
    await lead(etcd, "b", lambda one: cluster.becomes({"fixed": ["w0"], "y": ["w0"]}))
    assert await cluster.evicted() == {"x@1": "fixed@1 needed the room"}


async def test_what_is_called_meanwhile_is_not_evicted(
    etcd: Etcd, cluster: Cluster, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.join("w0", memory_bytes=4 * GIB)
    await cluster.deploy(deployment("x", memory_bytes=3 * GIB, on_demand=True))
    await cluster.call("x", 1.0)
    await lead(etcd, "a", lambda one: answers(agents, "x@1", 1))
    commit, overtaken = etcd.commit, asyncio.Event()

    async def called(compares: Any, operations: Any) -> int:
        if any(o.key == keys.activity("x", "1") for o in operations):
            monkeypatch.setattr(etcd, "commit", commit)
            await cluster.call("x")
            overtaken.set()
        return await commit(compares, operations)

    monkeypatch.setattr(etcd, "commit", called)
    await cluster.deploy(deployment("fixed", memory_bytes=3 * GIB))

    async def looked_again(one: Candidate) -> None:
        await overtaken.wait()
        await eventually(lambda: one.state.activities.items["x@1"].last_used_s > 1.0)
        await cluster.deploy(deployment("small", memory_bytes=GIB))
        await cluster.becomes({"small": ["w0"], "x": ["w0"]})

    await lead(etcd, "b", looked_again)
    assert await cluster.active() == {"x"}
    assert await cluster.evicted() == {}


async def test_idle_models_are_unloaded_and_the_activity_of_others_is_removed(
    etcd: Etcd, cluster: Cluster, agents: Agents
) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("x", on_demand=True, idle_s=60), deployment("fixed"))
    async with Candidate(etcd, "a").running() as one:
        for model in ("x", "fixed", "nobody"):
            await cluster.call(model)
        await cluster.becomes({"fixed": ["w0"], "x": ["w0"]})

        async def only_x() -> bool:
            return await cluster.active() == {"x"}

        await eventually(only_x)
        await _seen_ready(one, "x")
        _age(one, "x", 60)
        await cluster.becomes({"fixed": ["w0"]})
        assert await cluster.evicted() == {"x@1": "it was not called for 60 s"}
        await cluster.undeploy("x")

        async def forgotten() -> bool:
            return not await cluster.evicted()

        await eventually(forgotten)


async def test_a_leader_that_was_deposed_evicts_and_ends_nothing(etcd: Etcd, cluster: Cluster, agents: Agents) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"), deployment("x", on_demand=True))
    await cluster.call("x", 1.0)
    await lead(etcd, "a", lambda one: answers(agents, "x@1", 1))
    old = Candidate(etcd, "old")
    async with old.running(leading=False):
        term = await old.election.campaign()
        await cluster.deploy(deployment("m", version="2", replaces=("1",)))
        await eventually(lambda: "m@2" in old.state.deployments.items)
        assert await old.leader._decide(term)
        await answers(agents, "m@2", 1)
        await eventually(lambda: "w0/m@2" in old.state.instances.items)
        await eventually(lambda: len(old.state.placements.items) == 3)
        await cluster.call("nobody")
        await cluster.deploy(deployment("x", on_demand=True, idle_s=60))
        await eventually(lambda: "nobody@1" in old.state.activities.items)
        await eventually(lambda: old.state.deployments.items["x@1"].idle_s)
        await term.resign()
        await old.leader._decide(term)
        assert set(await cluster.deployed()) == {"m@1", "m@2", "x@1"}
        assert await cluster.active() == {"x", "nobody"}
        later = await old.election.campaign()
        assert await old.leader._decide(later)
        assert set(await cluster.deployed()) == {"m@2", "x@1"}
        assert await cluster.active() == set()
        await later.resign()
