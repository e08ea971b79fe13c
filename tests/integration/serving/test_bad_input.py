"""Bad input: the status, a message with what was expected and what came, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio
import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.catalogue import Resources
from modelyard.errors import (
    ExhaustedError,
    InvalidInputError,
    ModelExecutionError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
)
from modelyard.oip import messages
from modelyard.oip.tensors import encode_request
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import error_of
from tests import models
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite

NAME = "bad-input"
Request = messages.ModelInferRequest
INPUTS = "expected a: INT32 [-1, 16]; b: INT32 [-1, 16]"


def good(rows: int = 1) -> Request:
    ones = np.ones((rows, 16), np.int32)
    return encode_request(NAME, "1", {"a": ones, "b": ones})


async def ask(suite: RunningSuite, request: Request) -> ModelyardError | None:
    """What becomes of a request of a client that is not ours."""
    async with open_channel(suite.address) as channel:
        try:
            await Stub(channel, messages.SERVICE).ModelInfer(request, timeout=60)
        except grpc.aio.AioRpcError as failure:
            return error_of(failure)
    return None


def unknown_model(r: Request) -> None:
    r.model_name = "nobody"


def no_model(r: Request) -> None:
    r.model_name = ""


def bad_name(r: Request) -> None:
    r.model_name = "a/b c"


def long_name(r: Request) -> None:
    r.model_name = "n" * 121


def unknown_version(r: Request) -> None:
    r.model_version = "99"


def not_deployed(r: Request) -> None:
    r.model_version = "2"


def missing(r: Request) -> None:
    del r.inputs[1], r.raw_input_contents[1]


def extra(r: Request) -> None:
    r.inputs.add(name="c", datatype="INT32", shape=[1])
    r.raw_input_contents.append(b"1234")


def misnamed(r: Request) -> None:
    r.inputs[0].name = "alpha"


def datatype(r: Request) -> None:
    r.inputs[0].datatype = "UINT32"


def rank(r: Request) -> None:
    r.inputs[0].shape[:] = [16]


def dimension(r: Request) -> None:
    r.inputs[0].shape[:] = [2, 8]


def length(r: Request) -> None:
    r.raw_input_contents[0] += b"\0"


def both(r: Request) -> None:
    r.inputs[0].contents.int_contents.extend([1] * 16)


def typed_against_shape(r: Request) -> None:
    r.ClearField("raw_input_contents")
    for tensor, count in zip(r.inputs, (15, 16), strict=True):
        tensor.contents.int_contents.extend([1] * count)


def output(r: Request) -> None:
    r.outputs.add(name="product")


@pytest.fixture
async def served(bench: Workbench) -> None:
    await bench.serve(NAME, models.sum_and_difference())
    await bench.push(NAME, models.identity("FP32"))


CASES: list[tuple[Callable[[Request], None], type[ModelyardError], str]] = [
    (unknown_model, NotFoundError, "model 'nobody': not registered"),
    (no_model, InvalidInputError, "model_name: expected the name of a model, got an empty string"),
    (bad_name, InvalidInputError, "model name 'a/b c': expected letters, digits, '.', '_' and '-'"),
    (long_name, InvalidInputError, "model name: expected at most 120 characters, got 121"),
    (unknown_version, NotFoundError, "model 'bad-input': no version or alias '99'; it has 1, 2"),
    (not_deployed, PreconditionError, "model 'bad-input@2': registered but not deployed; deploy it first"),
    (missing, InvalidInputError, f"model 'bad-input@1': missing input 'b'; {INPUTS}, got 'a'"),
    (extra, InvalidInputError, f"model 'bad-input@1': unexpected input 'c'; {INPUTS}"),
    (misnamed, InvalidInputError, f"model 'bad-input@1': unexpected input 'alpha'; {INPUTS}"),
    (datatype, InvalidInputError, "model 'bad-input@1': input 'a': expected datatype INT32, got UINT32"),
    (rank, InvalidInputError, "model 'bad-input@1': input 'a': expected shape [-1, 16], got [16]"),
    (dimension, InvalidInputError, "model 'bad-input@1': input 'a': expected shape [-1, 16], got [2, 8]"),
    (length, InvalidInputError, "model 'bad-input@1': input 'a': expected 64 bytes for INT32 [1, 16], got 65"),
    (both, InvalidInputError, "model 'bad-input@1': input 'a': expected raw or typed contents, got both"),
    (
        typed_against_shape,
        InvalidInputError,
        "model 'bad-input@1': input 'a': expected 16 elements in int_contents for INT32 [1, 16], got 15",
    ),
    (output, InvalidInputError, "model 'bad-input@1': unexpected output 'product'; expected of sum, difference"),
]


@pytest.mark.usefixtures("served")
async def test_requests_that_do_not_fit(running_suite: RunningSuite, client: Client) -> None:
    for spoil, kind, message in CASES:
        request = good()
        spoil(request)
        error = await ask(running_suite, request)
        assert type(error) is kind, spoil.__name__
        assert error.message.startswith(message), spoil.__name__
    async with open_channel(running_suite.address) as channel:
        garbage = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await garbage(b"\xff" * 7)
        assert error_of(caught.value).message == "expected a ModelInferRequest, got 7 bytes that are none"
    assert await ask(running_suite, good()) is None
    assert {i.state for i in (await client.deployment(NAME)).instances} == {"READY"}


async def test_what_the_model_itself_refuses(running_suite: RunningSuite, bench: Workbench) -> None:
    await bench.serve("lookup", models.lookup(4))
    error = await ask(running_suite, encode_request("lookup", "", {"i": np.array([7])}))
    assert type(error) is ModelExecutionError
    assert error.message.startswith("model 'lookup@1': ")
    assert "out of data bounds" in error.message
    assert await ask(running_suite, encode_request("lookup", "", {"i": np.array([3])})) is None


async def test_deploying_what_is_not_there(client: Client, bench: Workbench) -> None:
    await bench.push("no-such", models.identity("FP32"))
    before = await client.deployments()
    with pytest.raises(NotFoundError, match="model 'nobody': not registered"):
        await client.deploy("nobody")
    with pytest.raises(NotFoundError, match="model 'no-such': no version or alias 'prod'; it has 1"):
        await client.deploy("no-such@prod")
    for replicas in (-1, 1001):
        with pytest.raises(InvalidInputError, match=f"replicas: expected 1 to 1000, got {replicas}"):
            await client.deploy("no-such", replicas=replicas)
    with pytest.raises(NotFoundError, match="model 'no-such': not deployed"):
        await client.undeploy("no-such")
    with pytest.raises(NotFoundError, match="no-such@1: not deployed"):
        await client.deployment("no-such")
    assert await client.deployments() == before


async def test_a_model_larger_than_every_worker(client: Client, bench: Workbench) -> None:
    path = models.save(models.identity("FP32"), bench.directory / "huge.onnx")
    bench.names.add("huge")
    await client.push("huge", path, resources=Resources(memory_bytes=1 << 50))
    with pytest.raises(ExhaustedError) as caught:
        await client.deploy("huge")
    assert caught.value.message.startswith(
        "huge@1: no live worker can hold it: worker-0: needs 1024 TiB of memory, it has "
    )
    assert "; worker-1: needs 1024 TiB of memory, it has " in caught.value.message
    assert "huge" not in {d.model for d in await client.deployments()}
    findings = await client.explain("huge")
    assert findings[0] == "huge@1: registered, not deployed"
    assert all("needs 1024 TiB of memory" in f for f in findings[1:])
    await client.push("huge", path, version="2", resources=Resources(cpu=100_000))
    with pytest.raises(ExhaustedError, match="needs 100000 cores, it has"):
        await client.deploy("huge@2")


async def test_a_model_that_kills_its_runner_at_load(client: Client, bench: Workbench) -> None:
    await bench.serve("bystander", models.identity("FP32"))
    await bench.push("deadly", models.crash_at_load())
    with pytest.raises(ModelExecutionError, match="killed by SIGFPE"):
        await client.deploy("deadly", timeout_s=60)
    (instance,) = (await client.deployment("deadly")).instances
    assert instance.state == "FAILED"
    assert instance.reason == "the runner ended while it loaded the model: killed by SIGFPE; loading anew"
    told = f"{instance.worker}: FAILED: {instance.reason}"
    assert any(finding.startswith(told) for finding in await client.explain("deadly"))
    with pytest.raises(ModelyardError, match="no instance of it is READY"):
        await client.infer("deadly", {"x": np.ones(1, np.int32)}, timeout_s=0.2)
    rows = np.ones((1, 2), np.float32)
    assert np.array_equal((await client.infer("bystander", {"x": rows}))["y"], rows)
    assert {w.id for w in await client.workers()} == {"worker-0", "worker-1"}


async def test_a_model_with_an_operator_that_is_not_there(client: Client, bench: Workbench) -> None:
    await bench.push("unimplemented", models.unimplemented())
    with pytest.raises(ModelExecutionError, match="Could not find an implementation for ImageDecoder"):
        await client.deploy("unimplemented", timeout_s=60)
    (instance,) = (await client.deployment("unimplemented")).instances
    assert instance.state == "FAILED"
    assert instance.reason.startswith("load failed: NotImplemented: ")
    parts = [part async for part in client.logs("unimplemented")]
    assert {p.worker for p in parts} == {instance.worker}
    assert b"load failed" in b"".join(p.data for p in parts)
