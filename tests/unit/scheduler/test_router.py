"""Whom a request is for: names, aliases, the canary's share, parts; and what is said of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import numpy as np
import pytest

from modelyard.catalogue import Alias, Signature, TensorSpec
from modelyard.errors import (
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.tensors import decode_inputs, encode_request
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor.admission import Bounds
from tests.runners import FakeRunner, request
from tests.unit.scheduler.routing import TARGET, Table, runners
from tests.waiting import eventually

ROWS = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),))


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    made = Table()
    yield made
    await asyncio.gather(*(s.close() for s in made.opened))


async def test_the_bytes_pass_as_they_are(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        sent = request(b"abc", version="1")
        assert await table.router().infer(sent, 30) == sent
        assert runner.calls[0].request == sent
        assert 29_000_000 < runner.calls[0].timeout_us <= 30_000_000
        assert not runner.calls[0].alone


async def test_what_is_not_deployed_and_what_does_not_exist(table: Table) -> None:
    router = table.router()
    with pytest.raises(NotFoundError):
        await router.infer(request(model="unknown"), None)
    with pytest.raises(NotFoundError):
        await router.infer(request(version="99"), None)
    with pytest.raises(PreconditionError, match="model 'm@7': registered but not deployed; deploy it first"):
        await router.infer(request(version="7"), None)
    table.deployed_since = True
    with pytest.raises(UnavailableError, match="model 'm@7': it was deployed just now"):
        await router.infer(request(version="7"), None)


@pytest.mark.parametrize("sent", [b"", b"no request", b"\x0a\xff"])
async def test_what_is_no_request(table: Table, sent: bytes) -> None:
    with pytest.raises(InvalidInputError):
        await table.router().infer(sent, None)
    assert table.seen == [(None, "INVALID_ARGUMENT")]


@pytest.mark.parametrize(
    ("model", "version"),
    [("m", ""), ("m", "1"), ("m", "prod"), ("m@1", ""), ("m@1", "1"), ("m@prod", ""), ("m@prod", "prod")],
)
async def test_every_way_to_name_a_version(table: Table, model: str, version: str) -> None:
    table.aliases["prod"] = Alias("prod", "1")
    table.registered.clear()
    async with runners(table, 1):
        sent = request(model=model, version=version)
        assert await table.router().infer(sent, 30) == sent
        assert await table.router().resolve(model, version) == TARGET


async def test_two_versions_in_one_call(table: Table) -> None:
    with pytest.raises(InvalidInputError, match="model_version: expected '1' or none beside 'm@1', got '2'"):
        await table.router().infer(request(model="m@1", version="2"), None)


async def test_an_alias_that_is_not_followed_is_asked_for(table: Table) -> None:
    async with runners(table, 1):
        assert await table.router().resolve("m", "prod") == TARGET


async def test_a_canary_gets_its_share_of_the_calls(table: Table) -> None:
    table.aliases["prod"] = Alias("prod", "1", canary_version="2", canary_percent=25.0)
    table.deploy("2")
    async with runners(table, 1) as (stable,), runners(table, 1, version="2") as (canary,):
        router = table.router()
        await asyncio.gather(*(router.infer(request(version="prod"), 30) for _ in range(1000)))
        assert len(stable.calls) + len(canary.calls) == 1000
        assert len(canary.calls) == pytest.approx(250, abs=60)
        assert Counter(v.version for v, _ in table.seen if v) == {"1": len(stable.calls), "2": len(canary.calls)}


@pytest.mark.parametrize("parameter", ["sequence_id", "routing_key"])
async def test_of_a_sequence_or_a_key_all_calls_get_the_same_version(table: Table, parameter: str) -> None:
    table.aliases["prod"] = Alias("prod", "1", canary_version="2", canary_percent=50.0)
    table.deploy("2")
    async with runners(table, 1) as (stable,), runners(table, 1, version="2") as (canary,):
        router = table.router()
        for key in map(str, range(20)):
            for _ in range(3):
                await router.infer(request(b"x", "m", "prod", **{parameter: key}), 30)
        assert len(stable.calls) % 3 == len(canary.calls) % 3 == 0
        assert stable.calls
        assert canary.calls


async def test_a_canary_without_an_instance_gets_no_calls(table: Table) -> None:
    table.aliases["prod"] = Alias("prod", "1", canary_version="2", canary_percent=99.0)
    async with runners(table, 1) as (stable,):
        router = table.router()
        await asyncio.gather(*(router.infer(request(version="prod"), 30) for _ in range(20)))
        table.deploy("2")
        await asyncio.gather(*(router.infer(request(version="prod"), 30) for _ in range(20)))
        assert len(stable.calls) == 40


async def test_what_is_said_of_calls(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        router = table.router()
        await router.infer(request(), 30)
        runner.failures = [pb.Failure(error="ExhaustedError", message="full", retry_after_ms=100)]
        with pytest.raises(ExhaustedError):
            await router.infer(request(), 30)
        with pytest.raises(NotFoundError):
            await router.infer(request(version="99"), 30)
        runner.go.clear()
        call = asyncio.ensure_future(router.infer(request(), 30))
        await runner.received(3)
        call.cancel()
        await asyncio.wait([call])
    assert table.seen == [(TARGET, "OK"), (TARGET, "RESOURCE_EXHAUSTED"), (None, "NOT_FOUND"), (TARGET, "CANCELLED")]


async def test_more_than_may_be_outstanding_is_refused_with_a_delay(table: Table) -> None:
    async with runners(table, 1) as (runner,):
        router = table.router(Bounds(calls=2))
        runner.go.clear()
        calls = [asyncio.ensure_future(router.infer(request(), 30)) for _ in range(2)]
        await runner.received(2)
        with pytest.raises(ExhaustedError) as refused:
            await router.infer(request(), 30)
        assert refused.value.retry_after_s
        assert table.seen == [(None, "RESOURCE_EXHAUSTED")]
        runner.go.set()
        await asyncio.gather(*calls)
        assert await router.infer(request(), 30) == request()


class Doubling(FakeRunner):
    """Answers with twice its input, as a model whose batches have rows."""

    def reply(self, call: pb.Call) -> pb.Reply:
        asked = messages.ModelInferRequest.FromString(call.request)
        if self.failures:
            return super().reply(call)
        (_, array) = decode_inputs(asked)["x"]
        answer = messages.ModelInferResponse(model_name="m", model_version="1", id=asked.id)
        answer.outputs.add(name="y", datatype="FP32", shape=array.shape)
        answer.raw_output_contents.append((2 * array).tobytes())
        return pb.Reply(id=call.id, response=answer.SerializeToString())


@pytest.fixture
async def doubling(table: Table) -> AsyncIterator[list[FakeRunner]]:
    table.deploy("1", max_batch_size=8)
    one, two = Doubling("w0"), Doubling("w1")
    async with one.serve(), two.serve():
        for runner in (one, two):
            runner.signature = ROWS
            table.open(runner)
        await eventually(lambda: all(s.usable for s in table.opened))
        yield [one, two]


@pytest.mark.parametrize("rows", [9, 16, 50, 1000])
async def test_a_request_of_too_many_rows_is_split_and_put_together(
    table: Table, doubling: list[FakeRunner], rows: int
) -> None:
    array = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    asked = encode_request("m", "", {"x": array})
    asked.id = "mine"
    answer = messages.ModelInferResponse.FromString(await table.router().infer(asked.SerializeToString(), 30))
    assert list(answer.outputs[0].shape) == [rows, 4]
    assert answer.raw_output_contents[0] == (2 * array).tobytes()
    assert answer.id == "mine"
    assert all(r.calls for r in doubling)
    assert sum(len(r.calls) for r in doubling) == min(-(-rows // 8), 8)
    assert table.seen == [(TARGET, "OK")]


@pytest.mark.parametrize("parameters", [{}, {"routing_key": "k"}])
async def test_what_fits_or_is_sticky_is_not_split(
    table: Table, doubling: list[FakeRunner], parameters: dict[str, str]
) -> None:
    asked = encode_request("m", "", {"x": np.zeros((9 if parameters else 8, 4), np.float32)})
    for name, value in parameters.items():
        asked.parameters[name].string_param = value
    await table.router().infer(asked.SerializeToString(), 30)
    assert sum(len(r.calls) for r in doubling) == 1


async def test_one_part_that_fails_fails_the_call_and_takes_the_others_back(
    table: Table, doubling: list[FakeRunner]
) -> None:
    one, two = doubling
    two.go.clear()
    one.failures = [pb.Failure(error="InvalidInputError", message="bad")]
    asked = encode_request("m", "", {"x": np.zeros((16, 4), np.float32)}).SerializeToString()
    with pytest.raises(InvalidInputError, match="bad"):
        await table.router().infer(asked, 30)
    await eventually(lambda: two.cancelled)
    assert all(s.outstanding == 0 for s in table.opened)


async def test_the_instances_of_a_route(table: Table) -> None:
    router = table.router()
    with pytest.raises(UnavailableError, match="no instance of it is READY"):
        await router.way("m", "", 30)
    async with runners(table, 2) as found:
        way = await router.way("m@prod", "", 30)
        assert way.version == ModelVersion("m", "1")
        assert [i.endpoint for i in way.instances] == [r.endpoint for r in found]
        assert way.canary is None


async def test_the_instances_of_a_canary(table: Table) -> None:
    table.aliases["prod"] = Alias("prod", "1", canary_version="2", canary_percent=25.0)
    table.deploy("2")
    router = table.router()
    async with runners(table, 1) as (stable,):
        assert (await router.way("m", "prod", 30)).canary is None
        async with runners(table, 2, version="2") as found:
            for name in (("m", "prod"), ("m@prod", "")):
                way = await router.way(*name, 30)
                assert (way.version.version, [i.endpoint for i in way.instances]) == ("1", [stable.endpoint])
                assert way.canary
                assert way.canary.version.version == "2"
                assert [i.endpoint for i in way.canary.instances] == [r.endpoint for r in found]
                assert way.percent == 25
            assert (await router.way("m", "2", 30)).canary is None
