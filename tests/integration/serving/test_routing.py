"""Names that move, on-demand activity and direct routes: what the front door follows in etcd, and the whole way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest

from modelyard import codec, keys
from modelyard.aio import Client
from modelyard.catalogue import Alias
from modelyard.deployment import Activity
from modelyard.errors import InvalidInputError
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.tasks import background
from modelyard_scheduler.frontdoor import aliases as following
from modelyard_scheduler.frontdoor import demand as demanding
from modelyard_scheduler.frontdoor.aliases import Aliases
from modelyard_scheduler.frontdoor.demand import EVERY_S, URGENT_S, Demand
from tests import models
from tests.integration.serving.conftest import Workbench
from tests.servers import ProgramServer
from tests.suites import RunningSuite
from tests.waiting import eventually

ONE = ModelVersion("m", "1")
X = {"x": np.zeros((2, 64), np.float32)}


@pytest.fixture
async def aliases(etcd: Etcd) -> AsyncIterator[Aliases]:
    followed = Aliases(etcd, max_models=2)
    yield followed
    await followed.close()


async def name(etcd: Etcd, model: str, alias: Alias) -> None:
    await etcd.put(keys.alias(model, alias.name), codec.encode(alias))


async def test_an_alias_is_followed_from_its_first_call_on(etcd: Etcd, aliases: Aliases) -> None:
    await name(etcd, "m", Alias("prod", "1"))
    assert aliases.known("m", "prod") is None
    assert await aliases.find("m", "prod") == Alias("prod", "1")
    assert await aliases.find("m", "other") is None
    moved = Alias("prod", "2", canary_version="3", canary_percent=5.0)
    await name(etcd, "m", moved)
    await eventually(lambda: aliases.known("m", "prod") == moved)
    await etcd.delete(keys.alias("m", "prod"))
    await eventually(lambda: aliases.known("m", "prod") is None)


async def test_those_not_called_for_longest_are_let_go(etcd: Etcd, aliases: Aliases) -> None:
    for model in ("a", "b"):
        await name(etcd, model, Alias("prod", "1"))
        await aliases.find(model, "prod")
    assert aliases.known("a", "prod")
    await aliases.find("c", "prod")
    assert aliases.known("a", "prod")
    assert aliases.known("b", "prod") is None


async def test_while_etcd_is_away_the_last_known_are_told(
    etcd: Etcd, etcd_server: ProgramServer, aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SYNC_S", 0.1)
    await name(etcd, "m", Alias("prod", "1"))
    await aliases.find("m", "prod")
    etcd_server.suspend()
    try:
        assert aliases.known("m", "prod") == Alias("prod", "1")
        assert await aliases.find("n", "prod") is None
    finally:
        etcd_server.resume()
    await etcd.wait_ready()
    await name(etcd, "n", Alias("prod", "1"))
    await eventually(lambda: aliases.known("n", "prod"))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def activity(etcd: Etcd) -> Activity | None:
    found = await etcd.get(keys.activity("m", "1"))
    return codec.decode(Activity, found.value) if found else None


async def test_activity_is_said_at_once_and_then_once_in_a_while(etcd: Etcd) -> None:
    clock = Clock()
    demand = Demand(etcd, clock)
    demand.note(ONE)
    await eventually(lambda: activity(etcd))
    await etcd.delete(keys.activity("m", "1"))  # evicted
    for _ in range(100):
        demand.note(ONE)
        demand.note(ONE, URGENT_S)
    await demand.close()
    assert await activity(etcd) is None
    clock.now_s += URGENT_S
    demand.note(ONE)
    assert not demand._writes
    demand.note(ONE, URGENT_S)
    await eventually(lambda: activity(etcd))
    clock.now_s += EVERY_S
    demand.note(ONE)
    assert demand._writes
    await demand.close()


async def test_of_what_is_busy_with_a_long_call_activity_is_said_again(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demanding, "URGENT_S", 0.01)
    clock = Clock()
    demand = Demand(etcd, clock)
    async with background(demand.run(lambda: [ONE])):
        await eventually(lambda: activity(etcd))
        await etcd.delete(keys.activity("m", "1"))
        clock.now_s += EVERY_S
        await eventually(lambda: activity(etcd))
    await demand.close()


async def test_activity_that_could_not_be_said_is_said_by_the_next_call(
    etcd: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = Etcd("127.0.0.1:1")
    demand = Demand(nobody, Clock())
    demand.note(ONE)
    await eventually(lambda: not demand._writes)
    assert "activity was not written" in caplog.text
    assert ONE not in demand._said_s
    await nobody.close()


async def test_by_alias_and_its_canary(running_suite: RunningSuite, client: Client, bench: Workbench) -> None:
    model = "routing-alias"
    one = await bench.serve(model, models.mlp())
    two = await bench.serve(model, models.mlp(seed=1))
    await client.set_alias(model, "prod", one)
    assert (await client.infer_result(f"{model}@prod", X)).version == one
    await client.set_alias(model, "prod", two)

    async def moved() -> bool:
        return (await client.infer_result(model, X, version="prod")).version == two

    await eventually(moved)
    await client.set_alias(model, "prod", two, canary_version=one, canary_percent=50.0)

    async def shared(caller: Client = client) -> bool:
        answers = await asyncio.gather(*(caller.infer_result(model, X, version="prod") for _ in range(40)))
        return min(Counter(a.version for a in answers).get(v, 0) for v in (one, two)) > 5

    await eventually(shared)
    async with Client(running_suite.address, timeout_s=120, direct=True) as direct:
        assert await shared(direct)
        assert direct._direct is not None
        (route,) = direct._direct._routes.values()
        assert (len(route.endpoints), route.percent) == (2, 50.0)


async def test_directly_as_through_the_front_door(
    running_suite: RunningSuite, client: Client, bench: Workbench
) -> None:
    model = "routing-direct"
    version = await bench.serve(model, models.mlp())
    expected = (await client.infer(model, X))["y"]
    async with Client(running_suite.address, timeout_s=120, direct=True) as direct:
        results = await asyncio.gather(*(direct.infer_result(model, X) for _ in range(20)))
        assert direct._direct is not None
        (route,) = direct._direct._routes.values()
        assert route.endpoints
        for result in results:
            np.testing.assert_array_equal(result.outputs["y"], expected)
            assert result.version == version
        with pytest.raises(InvalidInputError, match="'x'"):
            await direct.infer(model, {"x": np.zeros((2, 65), np.float32)})
        await client.undeploy(model)
        await client.deploy(model, timeout_s=120)
        np.testing.assert_array_equal((await direct.infer(model, X))["y"], expected)
