"""What each server says of itself while etcd, Redis or the artifact store is away, and when it is back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest

from modelyard import Client as SyncClient
from modelyard import codec, keys
from modelyard.aio import Client
from modelyard.deployment import Member
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.metrics import Family, families
from modelyard.rpc.health import check_serving
from tests import models
from tests.integration.serving.traffic import MODEL, ROWS
from tests.pages import on_page, scrape
from tests.suites import RunningSuite
from tests.waiting import eventually

FRONT_DOOR, CONTROLLER, REGISTRY, WORKER = "front door", "controller", "registry-0", "worker-0"
OIP = "inference.GRPCInferenceService"


class Servers:
    """The servers of a suite, and what they answer."""

    def __init__(self, suite: RunningSuite, controller: str) -> None:
        self.suite = suite
        self._addresses = {FRONT_DOOR: suite.address, CONTROLLER: controller}
        self._addresses |= {name: suite.process(name).address for name in (REGISTRY, WORKER)}

    async def serves(self, server: str, name: str = "") -> bool:
        """Whether a server says that it, or what is named, serves."""
        try:
            await check_serving(self._addresses[server], 20, name)
        except UnavailableError as error:
            if not error.message.endswith("answers NOT_SERVING"):
                raise
            return False
        return True

    async def say(self, **expected: bool) -> None:
        """Wait until every server answers as expected; the front door also of its model and services."""

        async def as_expected() -> bool:
            asked = {"front_door": FRONT_DOOR, "controller": CONTROLLER, "registry": REGISTRY, "worker": WORKER}
            answers = await asyncio.gather(*(self.serves(asked[name]) for name in expected))
            return answers == list(expected.values())

        await eventually(as_expected, 60)
        services = ("modelyard.v1.Registry", "modelyard.v1.Scheduler", "modelyard.v1.Jobs", "modelyard.v1.Router")
        for name in (MODEL, f"{MODEL}@1", OIP, *services):
            await eventually(partial(self.serves, FRONT_DOOR, name), 60)

    async def becomes(self, value: float, process: str, family: Family, *labels: str) -> None:
        """Wait until a value on a process's page is as said."""

        async def is_so() -> bool:
            found = on_page(await scrape(self.suite.process(process).metrics), family)
            return found.get(labels) == value

        await eventually(is_so, 60)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSuite]:
    made = RunningSuite(tmp_path_factory.mktemp("health"), lease_s=5)
    with SyncClient(made.address, timeout_s=120) as client:
        client.push(MODEL, models.save(models.mlp(), tmp_path_factory.mktemp("models") / "mlp.onnx"))
        client.deploy(MODEL, timeout_s=120)
    yield made
    for name in ("etcd", "redis"):
        made.signal(name, signal.SIGCONT)
    made.down()


@pytest.fixture
async def servers(suite: RunningSuite) -> AsyncIterator[Servers]:
    etcd = Etcd(suite.process("etcd").address)
    held = await etcd.get(keys.member("scheduler", "scheduler-0"))
    assert held is not None
    yield Servers(suite, codec.decode(Member, held.value).address)
    await etcd.close()


async def infers(suite: RunningSuite) -> None:
    """The model answers."""
    async with Client(suite.address, timeout_s=30) as client:
        assert (await client.infer(MODEL, {"x": ROWS}))["y"].shape == (2, 10)


async def test_without_etcd_models_are_served_and_nothing_can_be_deployed(servers: Servers) -> None:
    await servers.say(front_door=True, controller=True, registry=True, worker=True)
    servers.suite.signal("etcd", signal.SIGSTOP)
    await servers.say(front_door=True, controller=False, registry=False, worker=True)
    for process in ("scheduler-0", REGISTRY, WORKER):
        await servers.becomes(0, process, families.ETCD)
    await servers.becomes(0, WORKER, families.LEASE, "worker")
    await infers(servers.suite)
    servers.suite.signal("etcd", signal.SIGCONT)
    await servers.say(front_door=True, controller=True, registry=True, worker=True)
    for process in ("scheduler-0", REGISTRY, WORKER):
        await servers.becomes(1, process, families.ETCD)
    await servers.becomes(1, WORKER, families.LEASE, "worker")
    page = await scrape(servers.suite.process(WORKER).metrics)
    assert on_page(page, families.RENEWALS)["worker",] > 0


async def test_without_redis_all_serve(servers: Servers) -> None:
    servers.suite.signal("redis", signal.SIGSTOP)
    for process in ("scheduler-0", WORKER):
        await servers.becomes(0, process, families.REDIS)
    await servers.say(front_door=True, controller=True, registry=True, worker=True)
    await infers(servers.suite)
    servers.suite.signal("redis", signal.SIGCONT)
    for process in ("scheduler-0", WORKER):
        await servers.becomes(1, process, families.REDIS)


async def test_without_its_store_a_registry_does_not_serve(servers: Servers) -> None:
    store = servers.suite.directory / "store"
    store.rename(servers.suite.directory / "elsewhere")
    await servers.say(front_door=True, controller=True, registry=False, worker=True)
    await servers.becomes(0, REGISTRY, families.STORE)
    await infers(servers.suite)
    (servers.suite.directory / "elsewhere").rename(store)
    await servers.say(front_door=True, controller=True, registry=True, worker=True)
    await servers.becomes(1, REGISTRY, families.STORE)
