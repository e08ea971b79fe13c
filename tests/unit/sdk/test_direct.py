"""A client that calls runners directly, and falls back to the front door."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import (
    ExhaustedError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from modelyard.oip import messages
from modelyard.oip.tensors import encode_request
from modelyard.rpc.server import Server
from modelyard.sdk import direct
from modelyard.sdk.direct import DirectCalls
from modelyard.v1 import router_pb2
from tests.unit.fakes import FakeInference

X = {"x": np.zeros((1, 2), np.float32)}
INFER = "ModelInfer"


class Runner(FakeInference):
    """A runner by itself; it notes which version it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.address = ""
        self.versions: set[tuple[str, str]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Runner]:
        server = Server("runner")
        server.add(messages.SERVICE, self)
        self.address = await server.start("127.0.0.1:0")
        try:
            yield self
        finally:
            await server.stop(0)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.versions.add((request.model_name, request.model_version))
        return await super().ModelInfer(request, context)


class FrontDoor(Runner):
    """Tells the route to some runners, and executes calls itself too."""

    def __init__(self, *runners: Runner) -> None:
        super().__init__()
        self.runners = list(runners)
        self.canaries: list[Runner] = []
        self.refusals: list[ModelyardError] = []
        self.resolved = 0

    @contextlib.asynccontextmanager
    async def serve(self, *, tells_routes: bool = True) -> AsyncIterator[FrontDoor]:
        server = Server("front door")
        server.add(messages.SERVICE, self)
        if tells_routes:
            server.add(router_pb2.DESCRIPTOR.services_by_name["Router"], self)
        self.address = await server.start("127.0.0.1:0")
        try:
            yield self
        finally:
            await server.stop(0)

    async def ResolveRoute(self, request: Any, context: Any) -> Any:
        self.resolved += 1
        if self.refusals:
            raise self.refusals.pop(0)
        route = router_pb2.Route(model=request.model, version="7", ttl_ms=60_000)
        route.endpoints.extend(endpoint(runner) for runner in self.runners)
        if self.canaries:
            route.canary.version, route.canary.percent = "8", 25.0
            route.canary.endpoints.extend(endpoint(runner) for runner in self.canaries)
        return route


def endpoint(runner: Runner) -> router_pb2.Route.Endpoint:
    return router_pb2.Route.Endpoint(worker="w", address=runner.address)


def calls(*fakes: Runner) -> list[int]:
    return [fake.calls[INFER] for fake in fakes]


@pytest.fixture
async def suite() -> AsyncIterator[tuple[FrontDoor, Runner, Runner]]:
    async with Runner().serve() as one, Runner().serve() as two, FrontDoor(one, two).serve() as door:
        yield door, one, two


@pytest.fixture
async def client(suite: tuple[FrontDoor, Runner, Runner]) -> AsyncIterator[Client]:
    async with Client(suite[0].address, tenant="acme", timeout_s=20, direct=True) as opened:
        yield opened


Suite = tuple[FrontDoor, Runner, Runner]


async def test_calls_go_to_the_runners_by_the_version_they_know(suite: Suite, client: Client) -> None:
    door, one, two = suite
    await asyncio.gather(*(client.infer("digits", X, version="prod") for _ in range(40)))
    assert calls(door) == [0]
    assert sum(calls(one, two)) == 40
    assert min(calls(one, two)) > 5
    assert door.resolved == 1
    assert one.versions | two.versions == {("digits", "7")}
    assert one.tenants | two.tenants == {"acme"}


async def test_each_call_of_an_alias_draws_whether_the_canary_gets_it(suite: Suite, client: Client) -> None:
    door, one, two = suite
    door.runners, door.canaries = [one], [two]
    for _ in range(400):
        await client.infer("digits", X, version="prod")
    assert door.resolved == 1
    assert sum(calls(one, two)) == 400
    assert calls(two) == [pytest.approx(100, abs=45)]
    assert (one.versions, two.versions) == ({("digits", "7")}, {("digits", "8")})


async def test_where_the_canary_cannot_be_reached_the_front_door_draws(
    suite: Suite, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "REACH_S", 0.05)
    door, one, _two = suite
    nobody = Runner()
    nobody.address = "127.0.0.1:1"
    door.runners, door.canaries = [one], [nobody]
    for _ in range(3):
        await client.infer("digits", X, version="prod")
    assert calls(*suite) == [3, 0, 0]
    assert door.versions == {("digits", "prod")}


async def test_a_client_is_not_direct_unless_it_is_asked_to(suite: Suite) -> None:
    door, _one, _two = suite
    async with Client(door.address) as client:
        await client.infer("digits", X)
    assert calls(*suite) == [1, 0, 0]


@pytest.mark.parametrize("lost", [UnavailableError("gone"), NotFoundError("not here any more")])
async def test_a_call_that_finds_no_runner_goes_through_the_front_door(
    suite: Suite, client: Client, lost: ModelyardError
) -> None:
    door, one, two = suite
    door.runners = [one]
    one.failures = {INFER: [lost]}
    await client.infer("digits@prod", X)
    assert calls(*suite) == [1, 1, 0]
    assert door.versions == {("digits", "prod")}
    door.runners = [two]
    await client.infer("digits@prod", X)
    assert calls(*suite) == [1, 1, 1]
    assert door.resolved == 2


async def test_a_runner_that_died_is_noticed_by_its_call(suite: Suite, client: Client) -> None:
    door, _, _ = suite
    async with Runner().serve() as dying:
        door.runners = [dying]
        await client.infer("digits", X)
    await client.infer("digits", X)
    assert calls(door, dying) == [1, 1]


@pytest.mark.parametrize("refusal", [ExhaustedError("full", retry_after_s=0.5), InvalidInputError("bad")])
async def test_what_a_runner_answers_is_the_answer(suite: Suite, client: Client, refusal: ModelyardError) -> None:
    door, one, _two = suite
    door.runners = [one]
    one.failures = {INFER: [refusal]}
    with pytest.raises(type(refusal), match=refusal.message) as caught:
        await client.infer("digits", X)
    assert caught.value.retry_after_s == refusal.retry_after_s
    assert calls(*suite) == [0, 1, 0]


async def test_what_is_not_deployed_is_said_by_the_front_door(suite: Suite, client: Client) -> None:
    suite[0].refusals = [PreconditionError("not deployed"), UnavailableError("loading")]
    with pytest.raises(PreconditionError):
        await client.infer("digits", X)
    await client.infer("digits", X)  # the front door is asked, which would wait for it
    assert calls(*suite) == [1, 0, 0]


async def test_a_front_door_that_tells_no_routes(suite: Suite) -> None:
    async with FrontDoor().serve(tells_routes=False) as door, Client(door.address, direct=True) as client:
        await client.infer("digits", X)
        await client.infer("digits", X)
        assert calls(door) == [2]


async def test_runners_that_cannot_be_reached_are_not_tried_again_for_a_while(
    suite: Suite, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "REACH_S", 0.05)
    door, _one, _two = suite
    nobody = Runner()
    nobody.address = "127.0.0.1:1"
    door.runners = [nobody]
    for _ in range(3):
        await client.infer("digits", X)
    assert calls(*suite) == [3, 0, 0]
    assert door.resolved == 1


async def test_sticky_calls_go_through_the_front_door(suite: Suite, client: Client) -> None:
    routes = DirectCalls(client._connection)
    request = encode_request("digits", "", X)
    request.parameters["routing_key"].string_param = "k"
    await routes.infer(request, 20)
    assert calls(*suite) == [1, 0, 0]
    await routes.close()


async def test_a_route_is_used_for_as_long_as_was_said(suite: Suite, client: Client) -> None:
    now_s = [0.0]
    routes = DirectCalls(client._connection, lambda: now_s[0])
    door, one, two = suite
    door.runners = [one]
    for at_s in (0.0, 59.0, 61.0):
        now_s[0] = at_s
        await routes.infer(encode_request("digits", "", X), 20)
        door.runners = [two]
    assert calls(*suite) == [0, 2, 1]
    assert list(routes._endpoints) == [two.address]
    await routes.close()
    assert not routes._endpoints
