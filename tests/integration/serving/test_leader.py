"""The leader on a real etcd: what it writes, on what knowledge, and that one who was deposed writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Instance, InstanceState, Member, Placement, Worker
from modelyard.etcd import Etcd, Listing, Put
from modelyard.local.ports import Port
from modelyard.session import Election
from modelyard_scheduler import leader
from modelyard_scheduler.decision import Decision, View, decide
from modelyard_scheduler.explain import explain
from modelyard_scheduler.lost import GRACE_S
from modelyard_scheduler.observer import refuses
from tests.integration.serving.cluster import GIB, Candidate, Cluster, deployment
from tests.servers import ProgramServer
from tests.waiting import eventually


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


async def test_each_change_is_decided_once_and_etcd_is_read_only_after_a_write(
    cluster: Cluster, candidate: Callable[[str], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, decided, read = candidate("a"), [], []
    listing = cluster.etcd.list

    def noted(view: View) -> Decision:
        decided.append(decide(view))
        return decided[-1]

    async def counted(prefix: str) -> Listing:
        read.append(prefix)
        return await listing(prefix)

    monkeypatch.setattr(leader, "decide", noted)
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    async with one.running(leading=False):
        term = await one.election.campaign()
        monkeypatch.setattr(cluster.etcd, "list", counted)
        assert await one.leader._decide(term)
        await eventually(lambda: one.state.placements.items)
        for _ in range(3):
            assert await one.leader._decide(term)
        await term.resign()
    assert [bool(decision) for decision in decided] == [True, False, False, False]
    assert read == [keys.PLACEMENTS] * 2


async def test_whoever_leads_all_know_what_failed(cluster: Cluster, candidate: Callable[[str], Candidate]) -> None:
    failed = Instance("m", "1", "w0", InstanceState.FAILED, "no such operator", failures=3)
    wanted = deployment("m", 2)
    await cluster.join("w0")
    await cluster.deploy(wanted)
    async with candidate("a").running(), candidate("b").running() as follower:
        await cluster.becomes({"m": ["w0"]})
        await cluster.etcd.put(keys.instance("w0", "m", "1"), codec.encode(failed))
        await eventually(lambda: follower.state.failures.last)
        await cluster.etcd.delete(keys.instance("w0", "m", "1"))
        await cluster.etcd.delete(keys.placement("w0", "m", "1"))
        await eventually(lambda: not follower.state.instances.items)
        view, load = follower.state, "it failed there, and is tried elsewhere first: no such operator"
        view.placements.items.clear()
        assert explain(wanted, view, leader=True)[-1] == f"w0: {load}"


async def test_a_record_that_cannot_be_read_does_not_end_a_leader(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    await cluster.etcd.put(keys.placement("w0", "other", "1"), b'{"model": 1}')
    await cluster.etcd.put(keys.LEADER, b"{")
    one = candidate("a")
    async with one.running(leading=False):
        await one.leader._bury_predecessor()
        await cluster.etcd.delete(keys.LEADER)
        term = await one.election.campaign()
        await cluster.join("w0")
        await cluster.deploy(deployment("m"))
        await eventually(lambda: one.state.deployments.items and one.state.workers.items)
        assert await one.leader._decide(term)
        assert await cluster.etcd.get(keys.placement("w0", "m", "1"))
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
    await eventually(lambda: leading.leader._observer.lost.since_s)
    await cluster.deploy(deployment("n"))
    await cluster.becomes({"m": ["w0"], "n": ["w1"]})
    assert leading.leader._observer.lost.refused == set()
    leading.leader._observer.lost.since_s["w0"] -= GRACE_S  # as if so much time had passed
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
    await eventually(lambda: leading.leader._observer.lost.since_s)
    await cluster.join(holder, address)
    await eventually(lambda: not leading.leader._observer.lost.since_s)
    assert await cluster.placements() == before
    server.close()
    await server.wait_closed()


async def test_a_new_term_begins_without_the_losses_of_an_old_one(
    cluster: Cluster, candidate: Callable[[str], Candidate]
) -> None:
    one = candidate("a")
    one.leader._observer.lost.since_s = {"w0": -1e9}
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
    dead = codec.encode(Member("a", port.address))
    term = await Election(cluster.etcd, keys.LEADER, dead, ttl_s=3600).campaign()  # which nobody keeps alive
    await cluster.join("w0")
    await cluster.deploy(deployment("m"))
    async with Candidate(cluster.etcd, "a", port.address if same_address else other.address).running():
        await eventually(lambda: _is_later(cluster, term.epoch))
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
