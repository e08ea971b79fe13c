"""The leader on a real etcd: what it writes, on what knowledge, and that one who was deposed writes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Member, Placement, Worker
from modelyard.etcd import Etcd, Put
from modelyard.local.ports import Port
from modelyard_scheduler.leader import Leader, refuses
from modelyard_scheduler.lost import GRACE_S
from modelyard_scheduler.placement import Assignment, assignment_of
from modelyard_scheduler.state import State
from tests.servers import ProgramServer
from tests.waiting import eventually

GIB = 1 << 30


def deployment(model: str, replicas: int = 1, memory_bytes: int = GIB, digest: str = "d" * 64) -> Deployment:
    return Deployment(model, "1", replicas, Resources(memory_bytes=memory_bytes), digest, "onnx")


class Cluster:
    """What the leader finds in etcd, written by the test."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd

    async def deploy(self, *deployments: Deployment) -> None:
        for one in deployments:
            await self.etcd.put(keys.deployment(one.model, one.version), codec.encode(one))

    async def undeploy(self, model: str) -> None:
        await self.etcd.delete(keys.deployment(model, "1"))

    async def join(self, name: str, address: str = "127.0.0.1:1", memory_bytes: int = 64 * GIB) -> None:
        worker = Worker(name, address, 8.0, memory_bytes, incarnation=name)
        await self.etcd.put(keys.worker(name), codec.encode(worker))

    async def leave(self, name: str) -> None:
        await self.etcd.delete(keys.worker(name))

    async def placements(self) -> dict[str, Placement]:
        items = (await self.etcd.list(keys.PLACEMENTS)).items
        return {key: codec.decode(Placement, kv.value) for key, kv in items.items()}

    async def placed(self) -> dict[str, list[str]]:
        """Which models are on which workers."""
        found: Assignment = assignment_of((await self.placements()).values())
        return {version.model: sorted(workers) for version, workers in found.items()}

    async def becomes(self, expected: dict[str, list[str]]) -> None:
        async def so() -> bool:
            return await self.placed() == expected

        await eventually(so)


class Candidate:
    """A leader with a view of its own."""

    def __init__(self, etcd: Etcd, name: str, address: str = "127.0.0.1:1") -> None:
        self.changed = asyncio.Event()
        self.state = State(etcd, self.changed.set)
        self.leader = Leader(etcd, self.state, Member(name, address), self.changed)
        self.election = self.leader._election

    @contextlib.asynccontextmanager
    async def running(self, *, leading: bool = True) -> AsyncIterator[Candidate]:
        """Follow etcd, and lead if so asked, until the scope ends."""
        works = [asyncio.ensure_future(w) for w in self.state.works()]
        await self.state.synced()
        if leading:
            works.append(asyncio.ensure_future(self.leader.run()))
        try:
            yield self
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)


@pytest.fixture
def cluster(etcd: Etcd) -> Cluster:
    return Cluster(etcd)


@pytest.fixture
def candidate(etcd: Etcd) -> Callable[[str], Candidate]:
    return lambda name: Candidate(etcd, name)


@pytest.fixture
async def leading(candidate: Callable[[str], Candidate]) -> AsyncIterator[Candidate]:
    async with candidate("a").running() as one:
        yield one


async def test_what_is_deployed_is_placed_and_what_is_not_is_withdrawn(cluster: Cluster, leading: Candidate) -> None:
    await cluster.join("w0")
    await cluster.join("w1")
    await cluster.deploy(deployment("m", 2), deployment("n"))
    await eventually(lambda: _count(cluster, 3))
    found = await cluster.placed()
    assert found["m"] == ["w0", "w1"]
    placement = (await cluster.placements())[keys.placement(found["n"][0], "n", "1")]
    term = await cluster.etcd.get(keys.LEADER)
    assert term is not None
    assert placement == Placement(
        "n", "1", found["n"][0], "d" * 64, "onnx", Resources(memory_bytes=GIB), epoch=term.create_revision
    )
    await cluster.undeploy("m")
    await cluster.becomes({"n": found["n"]})


async def _count(cluster: Cluster, expected: int) -> bool:
    return len(await cluster.placements()) == expected


async def test_what_stays_is_not_written_again(cluster: Cluster, leading: Candidate) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    await cluster.becomes({"m": ["w0"]})
    before = (await cluster.etcd.list(keys.PLACEMENTS)).items
    await cluster.deploy(deployment("other"))
    await cluster.join("w1")
    await eventually(lambda: _count(cluster, 2))
    after = (await cluster.etcd.list(keys.PLACEMENTS)).items
    assert before.items() <= after.items()


async def test_other_content_under_the_same_name_is_placed_anew(cluster: Cluster, leading: Candidate) -> None:
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    await cluster.becomes({"m": ["w0"]})
    await cluster.deploy(deployment("m", digest="e" * 64))

    async def placed_anew() -> bool:
        return {p.manifest_digest for p in (await cluster.placements()).values()} == {"e" * 64}

    await eventually(placed_anew)


async def test_a_leader_that_was_deposed_writes_nothing(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    old, new = candidate("old"), candidate("new")
    async with old.running(leading=False), new.running(leading=False):
        term = await old.election.campaign()
        await cluster.join("w0")
        await cluster.deploy(deployment("m"))
        await eventually(lambda: old.state.deployments.items and old.state.workers.items)
        await term.resign()
        later = await new.election.campaign()
        assert not await old.leader._decide(term)
        assert await cluster.placements() == {}
        await eventually(lambda: new.state.deployments.items and new.state.workers.items)
        assert await new.leader._decide(later)
        assert {p.epoch for p in (await cluster.placements()).values()} == {later.epoch}
        await cluster.undeploy("m")
        await eventually(lambda: not old.state.deployments.items)
        assert not await old.leader._decide(term)
        assert len(await cluster.placements()) == 1
        await later.resign()


async def test_decisions_rest_on_what_etcd_holds_and_not_on_a_mirror_that_lags(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    one = candidate("a")
    await cluster.join("w0", memory_bytes=4 * GIB)
    async with one.running(leading=False):
        term = await one.election.campaign()
        await cluster.deploy(deployment("b", memory_bytes=3 * GIB))
        await eventually(lambda: one.state.deployments.items)
        assert await one.leader._decide(term)
        await cluster.deploy(deployment("a", memory_bytes=3 * GIB))
        await eventually(lambda: len(one.state.deployments.items) == 2 and one.state.placements.items)
        one.state.placements.items.clear()  # as if its events were still under way
        assert await one.leader._decide(term)
        assert await cluster.placed() == {"b": ["w0"]}  # both together would take 6 GiB of 4
        await term.resign()


async def test_an_undeploy_in_the_middle_of_a_decision(
    cluster: Cluster, candidate: Callable[[str], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = candidate("a")
    await cluster.join("w0")
    await cluster.deploy(deployment("m"), deployment("n"))
    async with one.running(leading=False):
        term = await one.election.campaign()
        commit = cluster.etcd.commit

        async def overtaken(*arguments: Any) -> int:
            one.state.deployments.items.clear()
            return await commit(*arguments)

        monkeypatch.setattr(cluster.etcd, "commit", overtaken)
        assert await one.leader._decide(term)
        assert await cluster.placed() == {"m": ["w0"], "n": ["w0"]}
        await eventually(lambda: len(one.state.placements.items) == 2)
        assert await one.leader._decide(term)
        assert await cluster.placed() == {}
        await term.resign()


async def test_a_lost_worker_is_replaced_at_once_when_its_connections_are_refused(
    cluster: Cluster, leading: Candidate
) -> None:
    port = Port()
    await cluster.join("w0", port.address)
    await cluster.deploy(deployment("m"))
    await cluster.becomes({"m": ["w0"]})
    await cluster.join("w1")
    await eventually(lambda: "w1" in leading.state.workers.items)
    await cluster.leave("w0")
    await cluster.becomes({"m": ["w1"]})
    port.release()


async def test_a_lost_worker_that_still_listens_is_given_time(
    cluster: Cluster, leading: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await cluster.join("w0", address)
    await cluster.deploy(deployment("m"))
    await cluster.becomes({"m": ["w0"]})
    await cluster.join("w1")
    await cluster.leave("w0")
    await eventually(lambda: leading.leader._lost.since_s)
    await cluster.deploy(deployment("n"))
    await cluster.becomes({"m": ["w0"], "n": ["w1"]})
    assert leading.leader._lost.refused == set()
    leading.leader._lost.since_s["w0"] -= GRACE_S  # as if so much time had passed
    await cluster.becomes({"m": ["w1"], "n": ["w1"]})
    server.close()
    await server.wait_closed()


async def test_a_worker_that_comes_back_in_time_keeps_its_models(cluster: Cluster, leading: Candidate) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("w0", "w1"):
        await cluster.join(name, address)
    await cluster.deploy(deployment("m"))
    await eventually(lambda: _count(cluster, 1))
    before = await cluster.placements()
    (holder,) = (p.worker for p in before.values())
    await cluster.leave(holder)
    await eventually(lambda: leading.leader._lost.since_s)
    await cluster.join(holder, address)
    await eventually(lambda: not leading.leader._lost.since_s)
    assert await cluster.placements() == before
    server.close()
    await server.wait_closed()


async def test_a_new_term_begins_without_the_losses_of_an_old_one(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    one = candidate("a")
    one.leader._lost.since_s = {"w0": -1e9}
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    placement = Placement("m", "1", "w0", "d" * 64, "onnx", Resources(memory_bytes=GIB), 1)
    await cluster.etcd.commit([], [Put(keys.placement("w0", "m", "1"), codec.encode(placement))])
    await cluster.join("w1")
    await cluster.deploy(deployment("m"), deployment("n"))
    async with one.running():
        await cluster.becomes({"m": ["w0"], "n": ["w1"]})
    server.close()


async def test_it_leads_again_after_its_lease_was_lost(cluster: Cluster, leading: Candidate) -> None:
    term = await eventually(lambda: cluster.etcd.get(keys.LEADER))
    assert term is not None
    await cluster.etcd.revoke(term.lease_id)
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    await cluster.becomes({"m": ["w0"]})
    (placement,) = (await cluster.placements()).values()
    assert placement.epoch > term.create_revision


async def test_a_failure_that_nobody_foresaw_ends_it_and_the_leadership(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    one = candidate("a")
    async with one.running(leading=False):
        broken = replace(deployment("m"), replicas="two")  # type: ignore[arg-type]
        one.state.deployments.items["m@1"] = broken
        one.state.workers.items["w0"] = Worker("w0", "127.0.0.1:1", 8.0, GIB, incarnation="w0")
        with pytest.raises(TypeError):
            await one.leader.run()
        assert await cluster.etcd.get(keys.LEADER) is None


async def leader_key(etcd: Etcd) -> int:
    """Since which revision somebody leads; 0 if nobody does."""
    held = await etcd.get(keys.LEADER)
    return held.create_revision if held else 0


@pytest.mark.parametrize("same_address", [True, False])
async def test_a_restarted_leader_ends_the_term_of_its_dead_predecessor(same_address: bool, cluster: Cluster) -> None:
    port, other = Port(), Port()
    dead = Candidate(cluster.etcd, "a", port.address)
    term = await dead.election.campaign()  # a lease of 15 s, which nobody keeps alive
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    async with Candidate(cluster.etcd, "a", port.address if same_address else other.address).running():
        await eventually(lambda: _is_later(cluster, term.epoch), 10)
        await cluster.becomes({"m": ["w0"]})
    port.release()
    other.release()


async def _is_later(cluster: Cluster, epoch: int) -> bool:
    return await leader_key(cluster.etcd) > epoch


@pytest.mark.parametrize("name", ["a", "b"])
async def test_the_term_of_one_who_lives_or_is_another_is_left_alone(name: str, cluster: Cluster) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}" if name == "a" else "127.0.0.1:1"
    living = Candidate(cluster.etcd, name, address)
    term = await living.election.campaign()
    one = Candidate(cluster.etcd, "a", "127.0.0.1:2")
    async with one.running(leading=False):
        await one.leader._bury_predecessor()
    assert await leader_key(cluster.etcd) == term.epoch
    await term.resign()
    server.close()


async def test_who_refuses(etcd_server: ProgramServer) -> None:
    port = Port()
    assert await refuses(port.address)
    port.release()
    assert not await refuses(etcd_server.endpoint)
    assert not await refuses("host.invalid:1")
