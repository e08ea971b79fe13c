"""The routing table: what it makes of the keys it mirrors, and what it keeps when they vanish."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, InstanceState
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor import table as table_module
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from modelyard_scheduler.frontdoor.table import RoutingTable
from tests.runners import FakeRunner
from tests.waiting import eventually

ONE, TWO = ModelVersion("m", "1"), ModelVersion("m", "2")


class Table:
    """A routing table whose keys the test sets itself, in the place of its mirrors."""

    def __init__(self, etcd: Etcd) -> None:
        self.table = RoutingTable(etcd)

    def deploy(self, version: str, published_s: float, *, on_demand: bool = False) -> None:
        self.table.deployments.items[f"m@{version}"] = Deployment(
            "m", version, 1, Resources(), "d" * 64, "onnx", version_time_s=published_s, on_demand=on_demand
        )
        self.changed()

    def undeploy(self, version: str) -> None:
        del self.table.deployments.items[f"m@{version}"]
        self.changed()

    def announce(self, runner: FakeRunner, state: InstanceState = InstanceState.READY) -> None:
        name = f"{runner.worker}/m@{runner.version}"
        self.table.instances.items[name] = dataclasses.replace(runner.instance, state=state)
        self.changed()

    def vanish(self, runner: FakeRunner) -> None:
        del self.table.instances.items[f"{runner.worker}/m@{runner.version}"]
        self.changed()

    def changed(self) -> None:
        self.table.instances._on_change()

    def meant(self, model: str, version: str) -> ModelVersion | None:
        """The version that a call is routed to."""
        route = self.table.route(model, version)
        return route.version if route else None

    def stream(self, version: ModelVersion = ONE) -> ExecuteStream | None:
        streams = self.table.streams(version)
        return streams[0] if streams else None

    async def connected(self, version: ModelVersion = ONE) -> ExecuteStream:
        await eventually(lambda: any(s.connected for s in self.table.streams(version)))
        (stream,) = self.table.streams(version)
        return stream


@pytest.fixture
async def keys() -> AsyncIterator[Table]:
    etcd = Etcd("127.0.0.1:1")
    built = Table(etcd)
    for mirror in (built.table.deployments, built.table.instances, built.table.registries, built.table.schedulers):
        mirror.synced.set()
    running = asyncio.ensure_future(built.table.run())
    await built.table.wait_built()
    yield built
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await etcd.close()


async def test_a_ready_instance_of_a_deployed_version_gets_a_stream(keys: Table) -> None:
    async with FakeRunner().serve() as runner:
        keys.announce(runner)
        keys.deploy("1", 1.0)
        stream = await keys.connected()
        assert await stream.call(b"x", None) == b"x"


async def test_what_is_loaded_for_jobs_is_routed_to_only_while_a_user_has_deployed_it(keys: Table) -> None:
    async with FakeRunner().serve() as runner:
        keys.announce(runner)
        await keys.table.changed()
        assert (keys.stream(), keys.meant("m", ""), keys.table.versions("m")) == (None, None, [])
        keys.deploy("1", 1.0)
        await keys.connected()
        keys.undeploy("1")
        await eventually(lambda: keys.meant("m", "1") is None)
        assert keys.stream() is None


@pytest.mark.parametrize("state", [InstanceState.LOADING, InstanceState.FAILED, InstanceState.UNLOADING])
async def test_an_instance_that_is_not_ready_gets_none(keys: Table, state: InstanceState) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        keys.announce(runner, state)
        await keys.table.changed()
        assert keys.stream() is None


async def test_without_a_version_the_newest_deployed_one_is_meant(keys: Table) -> None:
    assert keys.meant("m", "") is None
    keys.deploy("2", 1.0)
    keys.deploy("10", 3.0)
    keys.deploy("9", 2.0)
    await eventually(lambda: keys.meant("m", "10"))
    assert keys.meant("m", "") == ModelVersion("m", "10")
    assert keys.meant("m", "2") == ModelVersion("m", "2")
    assert keys.meant("m", "3") is None
    assert keys.meant("other", "") is None
    assert keys.table.versions("m") == ["2", "9", "10"]
    keys.undeploy("10")
    await eventually(lambda: keys.meant("m", "") == ModelVersion("m", "9"))


async def test_a_key_that_vanished_keeps_its_stream_while_that_lives(keys: Table) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        keys.announce(runner)
        stream = await keys.connected()
        keys.vanish(runner)
        await keys.table.changed()
        assert keys.stream() is stream
        assert await stream.call(b"x", None) == b"x"
        keys.announce(runner)
        await keys.table.changed()
        assert keys.stream() is stream
        keys.vanish(runner)
        runner.cut()
        await eventually(lambda: keys.stream() is None)


@pytest.mark.parametrize("state", [InstanceState.LOADING, InstanceState.FAILED])
async def test_a_runner_that_is_gone_by_its_agents_word_is_not_looked_for(keys: Table, state: InstanceState) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        keys.announce(runner)
        await keys.connected()
        runner.cut()
        keys.announce(runner, state)
        await eventually(lambda: keys.stream() is None)


async def test_a_new_endpoint_replaces_the_stream(keys: Table) -> None:
    async with FakeRunner().serve() as old, FakeRunner().serve() as new:
        keys.deploy("1", 1.0)
        keys.announce(old)
        before = await keys.connected()
        old.go.clear()
        call = asyncio.ensure_future(before.call(b"x", None))
        await old.received(1)
        keys.announce(new)
        await eventually(lambda: keys.stream() is not before)
        stream = await keys.connected()
        assert stream.instance.endpoint == new.endpoint
        old.go.set()
        assert await call == b"x"


async def test_the_old_stream_is_used_until_the_new_one_is_connected(keys: Table) -> None:
    async with FakeRunner().serve() as old, FakeRunner().serve() as new:
        new.refuse = True
        keys.deploy("1", 1.0)
        keys.announce(old)
        before = await keys.connected()
        keys.announce(new)
        await eventually(lambda: new.metadata)
        assert keys.stream() is before
        assert await before.call(b"x", None) == b"x"
        new.refuse = False
        await eventually(lambda: keys.stream() is not before)
        assert keys.table.streams(ONE)[0].connected
        await eventually(lambda: not old.streams)


async def test_a_new_endpoint_is_awaited_when_the_old_one_breaks_first(keys: Table) -> None:
    async with FakeRunner().serve() as old, FakeRunner().serve() as new:
        new.refuse = True
        keys.deploy("1", 1.0)
        keys.announce(old)
        before = await keys.connected()
        keys.announce(new)
        await eventually(lambda: new.metadata)
        old.refuse = True
        old.cut()
        await eventually(lambda: keys.stream() not in {None, before})
        new.refuse = False
        assert (await keys.connected()).instance.endpoint == new.endpoint


async def test_a_new_endpoint_that_is_withdrawn_leaves_the_old_stream(keys: Table) -> None:
    async with FakeRunner().serve() as old, FakeRunner().serve() as new, FakeRunner().serve() as third:
        new.refuse = third.refuse = True
        keys.deploy("1", 1.0)
        keys.announce(old)
        before = await keys.connected()
        keys.announce(new)
        await eventually(lambda: new.metadata)
        keys.announce(third)
        await eventually(lambda: third.metadata)
        keys.announce(third, InstanceState.LOADING)
        await eventually(lambda: not keys.table._replacements)
        assert keys.stream() is before
        keys.announce(third)
        await eventually(lambda: keys.table._replacements)
        keys.announce(old)
        await eventually(lambda: not keys.table._replacements)
        assert keys.stream() is before
        keys.announce(third)
        await eventually(lambda: keys.table._replacements)
        keys.undeploy("1")
        await eventually(lambda: not keys.table._replacements)
        assert keys.stream() is None


async def test_the_newest_that_answers_is_meant_while_a_newer_one_does_not(keys: Table) -> None:
    async with FakeRunner().serve() as one, FakeRunner(version="2").serve() as two:
        keys.deploy("1", 1.0)
        keys.deploy("2", 2.0)
        await eventually(lambda: keys.meant("m", "") == TWO)
        keys.announce(one)
        await keys.connected(ONE)
        await eventually(lambda: keys.meant("m", "") == ONE)
        keys.announce(two)
        await eventually(lambda: keys.meant("m", "") == TWO)
        two.refuse = True
        two.cut()
        await eventually(lambda: keys.meant("m", "") == ONE)


async def test_why_nothing_of_a_version_could_be_loaded(keys: Table) -> None:
    runners = [FakeRunner("w0"), FakeRunner("w1")]
    keys.deploy("1", 1.0)
    assert keys.table.failure(ONE) == ""
    for runner in runners:
        keys.announce(runner, InstanceState.FAILED)
    for name, instance in list(keys.table.instances.items.items()):
        keys.table.instances.items[name] = dataclasses.replace(instance, reason="broken")
    assert keys.table.failure(ONE) == "w0: broken; w1: broken"
    keys.announce(runners[0], InstanceState.LOADING)
    assert keys.table.failure(ONE) == ""


@pytest.mark.parametrize("how", ["unloading", "undeployed"])
async def test_what_is_withdrawn_is_drained(keys: Table, how: str) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        keys.announce(runner)
        stream = await keys.connected()
        runner.go.clear()
        calls = [asyncio.ensure_future(stream.call(b"x", None)) for _ in range(3)]
        await runner.received(1)
        if how == "unloading":
            keys.announce(runner, InstanceState.UNLOADING)
        else:
            keys.undeploy("1")
        await eventually(lambda: keys.stream() is None)
        assert not stream.usable
        runner.go.set()
        assert await asyncio.gather(*calls) == [b"x"] * 3
        await eventually(lambda: not runner.streams)


async def test_that_an_instance_went_is_remembered_for_a_while(keys: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        keys.announce(runner)
        await keys.connected(ONE)
        assert not keys.table.withdrawn_lately(ONE)
        keys.announce(runner, InstanceState.UNLOADING)
        await eventually(lambda: keys.table.withdrawn_lately(ONE))
        monkeypatch.setattr(table_module, "LATELY_S", 0.0)
        assert not keys.table.withdrawn_lately(ONE)


async def test_on_demand_versions_with_calls_outstanding_are_busy(keys: Table) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0, on_demand=True)
        keys.announce(runner)
        stream = await keys.connected(ONE)
        assert keys.table.busy_on_demand() == []
        runner.go.clear()
        call = asyncio.ensure_future(stream.call(b"x", None))
        await runner.received(1)
        assert keys.table.busy_on_demand() == [ONE]
        keys.deploy("1", 1.0)
        await eventually(lambda: keys.table.busy_on_demand() == [])
        runner.go.set()
        await call


async def test_two_versions_have_streams_of_their_own(keys: Table) -> None:
    async with FakeRunner().serve() as one, FakeRunner(version="2").serve() as two:
        keys.deploy("1", 1.0)
        keys.deploy("2", 2.0)
        keys.announce(one)
        keys.announce(two)
        first, second = await keys.connected(ONE), await keys.connected(TWO)
        assert await first.call(b"1", None) == b"1"
        assert await second.call(b"2", None) == b"2"
        assert (one.metadata, two.metadata) == (["m@1"], ["m@2"])


async def test_who_waits_for_a_change_hears_of_a_stream_that_connects(keys: Table) -> None:
    async with FakeRunner().serve() as runner:
        keys.deploy("1", 1.0)
        await eventually(lambda: keys.meant("m", "1"))
        keys.announce(runner)
        while keys.stream() is None or not keys.table.streams(ONE)[0].usable:
            await asyncio.wait_for(keys.table.changed(), 30)
