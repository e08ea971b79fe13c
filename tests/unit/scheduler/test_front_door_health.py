"""Health of models at a front door: it follows the streams to their instances."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2 as pb

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Member
from modelyard.etcd import Etcd
from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.health import SERVICE
from modelyard.rpc.server import Server
from modelyard_scheduler.frontdoor.health import FrontDoorHealth
from modelyard_scheduler.frontdoor.table import RoutingTable
from tests.runners import FakeRunner

RELAYED = "modelyard.v1.Registry"


class Door:
    """A routing table whose keys the test sets itself, and the health that follows it, watched over gRPC."""

    def __init__(self, table: RoutingTable, stub: Stub) -> None:
        self.table = table
        self._stub = stub

    def deploy(self, *versions: str, model: str = "m") -> None:
        """Make these the deployed versions of a model, and the only ones."""
        self.table.deployments.items.clear()
        for version in versions:
            made = Deployment(model, version, 1, Resources(), "d" * 64, "onnx")
            self.table.deployments.items[f"{model}@{version}"] = made
        self.changed()

    def announce(self, runner: FakeRunner) -> None:
        """A runner's instance is READY."""
        self.table.instances.items[f"{runner.worker}/m@{runner.version}"] = dataclasses.replace(runner.instance)
        self.changed()

    def changed(self) -> None:
        self.table.instances._on_change()

    async def until(self, name: str, status: str) -> None:
        """Watch a name until it is as said."""
        watch = self._stub.Watch(pb.HealthCheckRequest(service=name), timeout=30)
        async for answer in watch:
            if answer.status == pb.HealthCheckResponse.ServingStatus.Value(status):
                break
        watch.cancel()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    etcd, server = Etcd("127.0.0.1:1"), Server("door")
    table = RoutingTable(etcd)
    for mirror in (table.deployments, table.instances, table.registries, table.schedulers):
        mirror.synced.set()
    server.add(messages.SERVICE, object())
    address = await server.start("127.0.0.1:0")
    health = FrontDoorHealth(table, server.health, {RELAYED: lambda: bool(table.registries.items)})
    running = [asyncio.ensure_future(work) for work in (table.run(), health.run())]
    async with open_channel(address) as channel:
        yield Door(table, Stub(channel, SERVICE))
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await server.stop(0)
    await etcd.close()


async def test_a_model_serves_while_an_instance_has_a_stream(door: Door) -> None:
    await door.until("m", "SERVICE_UNKNOWN")
    door.deploy("1")
    await door.until("m", "NOT_SERVING")
    await door.until("m@1", "NOT_SERVING")
    async with FakeRunner().serve() as runner:
        door.announce(runner)
        await door.until("m", "SERVING")
        await door.until("m@1", "SERVING")
    await door.until("m@1", "NOT_SERVING")
    await door.until("m", "NOT_SERVING")
    door.deploy()
    await door.until("m", "SERVICE_UNKNOWN")
    await door.until("m@1", "SERVICE_UNKNOWN")


async def test_a_model_serves_by_any_of_its_versions(door: Door) -> None:
    door.deploy("1", "2", "3")
    async with FakeRunner(version="2").serve() as runner:
        door.announce(runner)
        await door.until("m@2", "SERVING")
        await door.until("m", "SERVING")
        await door.until("m@1", "NOT_SERVING")
        await door.until("m@3", "NOT_SERVING")


async def test_the_front_door_serves_whatever_is_away(door: Door) -> None:
    await door.until("", "SERVING")
    await door.until(RELAYED, "NOT_SERVING")
    door.table.registries.items["registry-0"] = Member("registry-0", "127.0.0.1:1")
    door.changed()
    await door.until(RELAYED, "SERVING")


@pytest.mark.parametrize("name", [messages.SERVICE.full_name, RELAYED])
async def test_a_model_of_the_name_of_a_service_does_not_answer_for_it(door: Door, name: str) -> None:
    door.table.registries.items["registry-0"] = Member("registry-0", "127.0.0.1:1")
    door.deploy("1", model=name)
    await door.until(f"{name}@1", "NOT_SERVING")
    await door.until(name, "SERVING")
    door.deploy()
    await door.until(f"{name}@1", "SERVICE_UNKNOWN")
    await door.until(name, "SERVING")
