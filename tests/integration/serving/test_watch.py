"""Watch through a whole suite: the front door is a process of its own, and so is the registry behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from modelyard.aio import Client
from modelyard.catalogue import Model
from modelyard.events import CatalogueEvent, EventKind
from modelyard.rpc.channel import Stub, open_channel
from modelyard.v1 import registry_pb2 as pb
from tests.suites import RunningSuite
from tests.waiting import eventually


async def test_a_watch_goes_on_when_the_registry_and_the_front_door_are_killed(
    suite: Callable[..., RunningSuite],
) -> None:
    running = await asyncio.to_thread(suite)
    seen: list[CatalogueEvent] = []

    async def read(client: Client) -> None:
        async for event in client.watch():
            seen.append(event)  # noqa: PERF401 (it is looked at while it grows)

    async with Client(running.address) as client:
        reading = asyncio.create_task(read(client))
        await eventually(lambda: seen)
        for name in ("registry-0", "scheduler-0", "etcd"):
            before = running.kill(name)
            await eventually(partial(running.ready, name, after=before))
            await client.register_model(name)
        await eventually(lambda: reading.done() or (seen[-1].model == "etcd"))
        reading.cancel()
    assert [event.kind for event in seen] == [EventKind.SYNCED, EventKind.PUT, EventKind.PUT, EventKind.PUT]
    models = [event.resource for event in seen[1:]]
    assert [model.name for model in models if isinstance(model, Model)] == ["registry-0", "scheduler-0", "etcd"]


async def test_revisions_pass_the_front_door(running_suite: RunningSuite) -> None:
    async with Client(running_suite.address) as client:
        await client.models()
        assert client.revision > 0
        await client.search()
    async with open_channel(running_suite.address) as channel:
        stub = Stub(channel, pb.DESCRIPTOR.services_by_name["Registry"])
        watch = stub.Watch(pb.WatchRequest(start_revision=client.revision + 1))
        await asyncio.wait_for(watch.initial_metadata(), 30)
        assert not watch.done()
        watch.cancel()


pytestmark = pytest.mark.timeout(120)
