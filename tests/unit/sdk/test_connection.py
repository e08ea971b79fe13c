from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import (
    TABLE,
    DeadlineError,
    InternalError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    UnimplementedError,
)
from modelyard.names import ModelVersion
from modelyard.sdk.connection import resolve
from tests.unit.fakes import FakeSuite
from tests.waiting import eventually

X = np.zeros((1, 2), np.float32)


def unavailable(count: int) -> list[ModelyardError]:
    return [UnavailableError(f"loading {n}", retry_after_s=0.01) for n in range(count)]


async def test_every_call_names_the_tenant(fakes: FakeSuite, client: Client) -> None:
    await client.models()
    await client.workers()
    await client.infer("digits", {"x": X})
    assert fakes.registry.tenants == fakes.scheduler.tenants == fakes.inference.tenants == {"acme"}


async def test_unavailable_is_tried_again(fakes: FakeSuite, client: Client) -> None:
    fakes.inference.failures["ModelInfer"] = unavailable(2)
    assert (await client.infer("digits", {"x": X}))["x"].shape == (1, 2)
    assert fakes.inference.calls["ModelInfer"] == 3


async def test_a_call_that_cannot_be_repeated_is_made_once(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.failures["Undeploy"] = unavailable(1)
    with pytest.raises(UnavailableError, match="loading 0"):
        await client.undeploy("digits")
    assert fakes.scheduler.calls["Undeploy"] == 1


async def test_the_last_unavailable_answer_is_reported(fakes: FakeSuite) -> None:
    fakes.scheduler.failures["ListWorkers"] = [UnavailableError("first"), UnavailableError("last", retry_after_s=60)]
    async with Client(fakes.address, timeout_s=10) as client:
        with pytest.raises(UnavailableError, match="last"):
            await client.workers()


@pytest.mark.parametrize("error", TABLE.values(), ids=lambda error: error.__name__)
async def test_errors_arrive_as_they_were_raised(fakes: FakeSuite, client: Client, error: type[ModelyardError]) -> None:
    fakes.scheduler.failures["Undeploy"] = [error("what came", retry_after_s=1.5)]
    with pytest.raises(error, match="what came") as raised:
        await client.undeploy("digits")
    assert type(raised.value) is error
    assert raised.value.retry_after_s == 1.5


async def test_a_method_that_the_server_lacks(client: Client) -> None:
    with pytest.raises(UnimplementedError):
        await client.search("digits")


async def test_unforeseen_errors_are_internal(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.endpoints = None  # type: ignore[assignment]
    with pytest.raises(InternalError):
        await client.endpoints()


async def test_a_late_answer_is_a_deadline_error(fakes: FakeSuite, client: Client) -> None:
    fakes.inference.hold = asyncio.Event()
    await client.wait_connected(60)
    with pytest.raises(DeadlineError):
        await client.infer("digits", {"x": X}, timeout_s=0.05)
    fakes.inference.hold.set()


async def test_nothing_answers(unused_tcp_port: int) -> None:
    async with Client(f"127.0.0.1:{unused_tcp_port}", timeout_s=0.05) as client:
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{unused_tcp_port}: nothing answers"):
            await client.models()
        with pytest.raises(UnavailableError, match="nothing answers"):
            await client.wait_connected(0.05)
        assert not await client.live(0.05)
        assert not await client.ready(0.05)


async def test_a_server_that_comes_later_is_waited_for(unused_tcp_port: int) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    async with Client(address, timeout_s=60) as client:
        call = asyncio.create_task(client.workers())
        assert not await client.live(0.05)
        async with FakeSuite().serve(address):
            assert [worker.id for worker in await call] == ["worker-0"]


async def test_a_server_that_restarts_is_waited_for(unused_tcp_port: int) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    async with Client(address, timeout_s=60) as client:
        async with FakeSuite().serve(address) as fakes:
            fakes.inference.hold = asyncio.Event()
            call = asyncio.create_task(client.infer("digits", {"x": X}))
            await eventually(lambda: fakes.inference.calls["ModelInfer"])
        async with FakeSuite().serve(address):
            assert "x" in await call


async def test_a_stream_is_tried_again_until_it_began(fakes: FakeSuite, client: Client) -> None:
    fakes.scheduler.failures["ReadLogs"] = unavailable(2)
    parts = [part async for part in client.logs("digits")]
    assert [part.worker for part in parts] == ["worker-0", "worker-1"]
    fakes.scheduler.failures["part"] = unavailable(1)
    with pytest.raises(UnavailableError):
        _ = [part async for part in client.logs("digits")]


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        await Client().models()


@pytest.mark.parametrize("arguments", [{"tenant": "a b"}, *({"timeout_s": n} for n in (0.0, -1.0, math.inf, math.nan))])
def test_malformed_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Client(**arguments)


@pytest.mark.parametrize("address", ["", "foo", "foo:", ":8001", "foo:0", "foo:65536", "::1", "http://foo:1", "a b:1"])
def test_an_address_has_a_host_and_a_port(address: str) -> None:
    with pytest.raises(InvalidInputError, match="address: expected host:port, got "):
        Client(address)


@pytest.mark.parametrize("address", ["localhost:8001", "127.0.0.1:1", "[::1]:65535", "front-door.example.org:80"])
def test_good_addresses(address: str) -> None:
    Client(address)


@pytest.mark.parametrize("timeout_s", [0.0, math.inf, math.nan])
async def test_a_call_waits_for_a_finite_time(client: Client, timeout_s: float) -> None:
    for attempt in (
        client.infer("digits", {"x": X}, timeout_s=timeout_s),
        client.deploy("digits", timeout_s=timeout_s),
        client.collect_garbage(timeout_s=timeout_s),
    ):
        with pytest.raises(InvalidInputError, match="timeout_s: expected a finite number of seconds above 0, got"):
            await attempt


def test_references() -> None:
    assert resolve("digits") == ModelVersion("digits", "")
    assert resolve("digits@prod") == resolve("digits", "prod") == resolve("digits@prod", "prod")
    with pytest.raises(InvalidInputError, match="expected one, got '1' and '2'"):
        resolve("digits@1", "2")
    with pytest.raises(InvalidInputError):
        resolve("a b")


async def test_typed_errors_are_what_users_catch(fakes: FakeSuite, client: Client) -> None:
    with pytest.raises(NotFoundError, match="'absent': not registered"):
        await client.model("absent")
    fakes.inference.failures["ModelInfer"] = [PreconditionError("digits is not deployed")]
    with pytest.raises(PreconditionError):
        await client.infer("digits", {"x": X})
