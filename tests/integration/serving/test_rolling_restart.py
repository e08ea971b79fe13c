"""Workers and runners are restarted one after the other, while clients that never retry call without pause."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import pytest

from modelyard import Client as SyncClient
from modelyard.aio import Client
from modelyard.deployment import InstanceOptions
from tests import models
from tests.integration.serving.traffic import Traffic, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

BOTH = ("worker-0", "worker-1")
REPLICAS = {"single": 1, "twin": 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    """A suite of two workers that serves a model in one replica, and one in two."""
    suite = RunningSuite(tmp_path_factory.mktemp("rolling"), workers=2)
    directory = tmp_path_factory.mktemp("models")
    with SyncClient(suite.address, timeout_s=120) as client:
        for name, replicas in REPLICAS.items():
            client.push(name, models.save(models.mlp(), directory / f"{name}.onnx"))
            client.deploy(name, replicas=replicas, timeout_s=120)
    yield suite
    suite.down()


@pytest.fixture
async def client(served: RunningSuite) -> AsyncIterator[Client]:
    """A client of the suite, once all is well."""
    async with Client(served.address, timeout_s=120) as opened:
        await eventually(lambda: _well(served, opened), 60)
        yield opened


async def _well(suite: RunningSuite, client: Client) -> bool:
    """Whether all replicas run, and no other runner does."""
    deployed = await client.deployments()
    running = {name: len(runners(suite, f"{name}@1")) for name in REPLICAS}
    return all(d.ready for d in deployed) and running == REPLICAS and len(await client.workers()) == len(BOTH)


async def _slowly_until(condition: Callable[[], object], *traffic: Traffic) -> None:
    await asyncio.gather(*(one.until(condition) for one in traffic))


async def test_of_workers(served: RunningSuite, client: Client) -> None:
    async with Traffic(served.address, 4, "single") as single, Traffic(served.address, 4, "twin") as twin:
        for worker in BOTH:
            stopped = served.signal(worker, signal.SIGTERM)
            await _slowly_until(partial(served.ready, worker, after=stopped), single, twin)
            assert served.process(worker).reason == "exit status 0"
            await _slowly_until(lambda: _well(served, client), single, twin)
            await asyncio.gather(single.more(50), twin.more(50))
    assert single.failures + twin.failures == {}


async def test_of_runners(served: RunningSuite, client: Client) -> None:
    before = {name: runners(served, f"{name}@1") for name in REPLICAS}
    async with Traffic(served.address, 4, "single") as single, Traffic(served.address, 4, "twin") as twin:
        for name, replicas in REPLICAS.items():
            options = InstanceOptions(threads=2)
            await client.deploy(name, replicas=replicas, options=options, timeout_s=120)
            await _slowly_until(lambda: _well(served, client), single, twin)
            await asyncio.gather(single.more(50), twin.more(50))
    assert single.failures + twin.failures == {}
    after = {name: runners(served, f"{name}@1") for name in REPLICAS}
    for name in REPLICAS:
        assert after[name].keys() == before[name].keys()
        assert set(after[name].values()).isdisjoint(before[name].values())
