"""The runner's own Open Inference Protocol: which of the models that it holds a request means."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from modelyard.deployment import InstanceOptions
from modelyard.errors import (
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    UnimplementedError,
)
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.server import Server
from modelyard.rpc.status import error_of
from modelyard_worker.runner.inference import RAW_METHODS, InferenceServicer
from modelyard_worker.runner.models import LoadOrder, Models
from tests.unit.worker.instances import Echo, request, values
from tests.waiting import eventually


class Runner:
    """A server that holds m@1, and what else is loaded."""

    def __init__(self, stub: Any, models: Models, stopping: asyncio.Event) -> None:
        self.stub = stub
        self.models = models
        self.stopping = stopping

    async def load(self, version: str) -> None:
        order = LoadOrder(ModelVersion("m", version), "w0", "onnx", Path(), InstanceOptions(max_batch_size=4))
        await self.models.load(order)

    async def refusal(self, call: Any) -> ModelyardError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        return error_of(refused.value)


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    models = Models(1, load=lambda *_: Echo())
    stopping = asyncio.Event()
    server = Server("runner")
    server.add(messages.SERVICE, InferenceServicer(models, stopping), RAW_METHODS)
    async with open_channel(await server.start("127.0.0.1:0")) as channel:
        found = Runner(Stub(channel, messages.SERVICE), models, stopping)
        await found.load("1")
        yield found
    await server.stop(0)
    assert await models.close(30)


def asked(number: int, model: str = "m", version: str = "") -> messages.ModelInferRequest:
    made = messages.ModelInferRequest.FromString(request(number))
    made.model_name, made.model_version = model, version
    return made


@pytest.mark.parametrize(("model", "version"), [("m", ""), ("m", "1"), ("m@1", "")])
async def test_a_model_by_its_name(runner: Runner, model: str, version: str) -> None:
    answer = await runner.stub.ModelInfer(asked(7, model, version))
    assert values(answer.SerializeToString()) == [7]


async def test_of_several_versions_one_must_be_named(runner: Runner) -> None:
    await runner.load("2")
    error = await runner.refusal(runner.stub.ModelInfer(asked(7)))
    assert (type(error), error.message) == (
        InvalidInputError,
        "model 'm': expected one of the versions 1, 2, got none",
    )
    assert values((await runner.stub.ModelInfer(asked(7, "m", "2"))).SerializeToString()) == [7]


@pytest.mark.parametrize(
    ("model", "version", "kind"), [("n", "", NotFoundError), ("m", "9", NotFoundError), ("", "", InvalidInputError)]
)
async def test_models_that_are_not_held(runner: Runner, model: str, version: str, kind: type[ModelyardError]) -> None:
    for name in ("ModelMetadata", "ModelConfig"):
        question = getattr(messages, f"{name}Request")(name=model, version=version)
        assert type(await runner.refusal(getattr(runner.stub, name)(question))) is kind
    assert type(await runner.refusal(runner.stub.ModelInfer(asked(1, model, version)))) is kind


async def test_readiness(runner: Runner) -> None:
    ready = [
        (await runner.stub.ModelReady(messages.ModelReadyRequest(name=name))).ready for name in ("m", "m@1", "n", "m@2")
    ]
    assert ready == [True, True, False, False]
    assert (await runner.stub.ServerReady(messages.ServerReadyRequest())).ready
    runner.stopping.set()
    assert not (await runner.stub.ServerReady(messages.ServerReadyRequest())).ready


async def test_statistics(runner: Runner) -> None:
    await runner.load("2")
    await runner.stub.ModelInfer(asked(7, "m", "2"))

    async def counts(**named: str) -> dict[str, int]:
        answer = await runner.stub.ModelStatistics(messages.ModelStatisticsRequest(**named))
        return {f"{s.name}@{s.version}": s.inference_stats.success.count for s in answer.model_stats}

    assert await counts() == await counts(name="m") == {"m@1": 0, "m@2": 1}
    assert await counts(name="m", version="2") == {"m@2": 1}
    missing = runner.stub.ModelStatistics(messages.ModelStatisticsRequest(name="m", version="3"))
    assert type(await runner.refusal(missing)) is NotFoundError


async def test_configuration_names_all_versions_that_are_held(runner: Runner) -> None:
    await runner.load("2")
    config = (await runner.stub.ModelConfig(messages.ModelConfigRequest(name="m", version="2"))).config
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert config.max_batch_size == 4


async def test_a_stream_ends_when_the_runner_stops(runner: Runner) -> None:
    stream = runner.stub.ModelStreamInfer()
    await stream.write(asked(3))
    assert values((await stream.read()).infer_response.SerializeToString()) == [3]
    runner.stopping.set()
    error = await runner.refusal(stream.read())
    assert type(error) is UnavailableError


async def test_cuda_shared_memory_is_not_offered(runner: Runner) -> None:
    for name in ("Register", "Status", "Unregister"):
        question = getattr(messages, f"CudaSharedMemory{name}Request")(name="r")
        error = await runner.refusal(getattr(runner.stub, f"CudaSharedMemory{name}")(question))
        assert (type(error), "register system shared memory" in error.message) == (UnimplementedError, True)
    await runner.stub.CudaSharedMemoryUnregister(messages.CudaSharedMemoryUnregisterRequest())


async def test_the_index_lists_what_is_held(runner: Runner) -> None:
    await runner.load("2")
    go = threading.Event()
    runner.models._load = lambda *_: go.wait(30) and Echo()  # type: ignore[assignment]
    loading = asyncio.ensure_future(runner.load("3"))

    async def listed(*, ready: bool = False) -> dict[str, str]:
        answer = await runner.stub.RepositoryIndex(messages.RepositoryIndexRequest(ready=ready))
        return {f"{m.name}@{m.version}": m.state for m in answer.models}

    await eventually(lambda: len(runner.models.states()) == 3)
    assert await listed() == {"m@1": "READY", "m@2": "READY", "m@3": "LOADING"}
    assert await listed(ready=True) == {"m@1": "READY", "m@2": "READY"}
    go.set()
    await loading
    error = await runner.refusal(runner.stub.RepositoryIndex(messages.RepositoryIndexRequest(repository_name="r")))
    assert type(error) is UnimplementedError


@pytest.mark.parametrize(
    ("method", "agrees", "differs", "refusal"),
    [
        ("Load", [("m", ""), ("m", "1")], [("m", "2"), ("n", "")], "loaded"),
        ("Unload", [("n", ""), ("m", "2")], [("m", ""), ("m", "1")], "unloaded"),
    ],
)
async def test_what_is_held_is_not_for_the_runner_to_decide(
    runner: Runner, method: str, agrees: list[tuple[str, str]], differs: list[tuple[str, str]], refusal: str
) -> None:
    call = getattr(runner.stub, f"RepositoryModel{method}")

    def question(model: str, version: str) -> Any:
        asked_for = getattr(messages, f"RepositoryModel{method}Request")(model_name=model)
        if version:
            asked_for.parameters["version"].string_param = version
        return asked_for

    for model, version in agrees:
        await call(question(model, version))
    for model, version in differs:
        error = await runner.refusal(call(question(model, version)))
        assert type(error) is PreconditionError
        assert f"does not decide what is {refusal} on it, ask the front door" in error.message
    assert type(await runner.refusal(call(question("", "")))) is InvalidInputError


async def test_trace_settings_can_be_read_and_changed_but_not_turned_on(runner: Runner) -> None:
    change = messages.TraceSettingRequest(model_name="m")
    change.settings["trace_rate"].value.append("7")
    assert list((await runner.stub.TraceSetting(change)).settings["trace_rate"].value) == ["7"]
    change.settings["trace_level"].value.append("TIMESTAMPS")
    assert type(await runner.refusal(runner.stub.TraceSetting(change))) is UnimplementedError
    of_another = messages.TraceSettingRequest(model_name="n")
    assert type(await runner.refusal(runner.stub.TraceSetting(of_another))) is NotFoundError
    rest = await runner.stub.TraceSetting(messages.TraceSettingRequest())
    assert [list(rest.settings[name].value) for name in ("trace_rate", "trace_level")] == [["1000"], ["OFF"]]
