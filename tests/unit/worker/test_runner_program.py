"""The runner as a process: it starts empty, loads, answers both protocols, and ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from modelyard import process
from modelyard.deployment import InstanceOptions
from modelyard.oip import messages
from modelyard.oip.tensors import encode_request
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.v1 import runner_pb2 as pb
from tests import models
from tests.executing import Execution
from tests.unit.worker.instances import values
from tests.waiting import eventually

SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]
GATED = """
import sys
from modelyard_worker.runner import __main__ as runner
from modelyard_worker.runtimes import onnx
runner.DRAIN_S = float(sys.argv.pop(1))
run, go = onnx.OnnxRuntime.run, open(sys.argv.pop(1), "rb")
onnx.OnnxRuntime.run = lambda *args: (go.read(1), run(*args))[1]
sys.exit(runner.main())
"""
"""A runner that executes a batch for each byte that it finds in a pipe."""


class Running:
    """A runner process that holds m@1, x FP32 [-1, 1] -> y; each batch waits for a byte in a pipe."""

    def __init__(self, child: process.Child, stub: Stub, oip: Stub, gate: int) -> None:
        self.port = 0
        self.child = child
        self.stub = stub
        self.oip = oip
        self._gate = gate

    def let_go(self, batches: int) -> None:
        os.write(self._gate, b"g" * batches)

    async def calls(self, count: int) -> Execution:
        """An execute stream that the runner has accepted, with calls on it."""
        stream = await Execution.open(self.port)
        requests = [pb.Call(id=n, request=request(n)) for n in range(1, count + 1)]
        stream.write(pb.ExecuteRequest(calls=requests))
        return stream

    async def stopping(self) -> bool:
        return not (await self.oip.ServerReady(messages.ServerReadyRequest())).ready

    async def counted(self) -> int:
        answer = await self.oip.ModelStatistics(messages.ModelStatisticsRequest(name="m"))
        return int(answer.model_stats[0].inference_stats.success.count)


def request(value: float) -> bytes:
    return encode_request("m", "", {"x": np.full((1, 1), value, np.float32)}).SerializeToString()


@contextlib.asynccontextmanager
async def running(directory: Path, drain_s: float) -> AsyncIterator[Running]:
    models.save(models.identity("FP32", (-1, 1)), directory / "model.onnx")
    pipe = directory / "gate"
    os.mkfifo(pipe)
    gate = os.open(pipe, os.O_RDWR)
    command = [sys.executable, "-c", GATED, str(drain_s), str(pipe)]
    child = await process.start(command, os.environ, subprocess.DEVNULL)
    try:
        ready = await asyncio.wait_for(anext(child.reports()), 60)
        assert set(ready) == {"state", "address"}
        async with open_channel(ready["address"]) as channel:
            one = Running(child, Stub(channel, SERVICE), Stub(channel, messages.SERVICE), gate)
            options = convert.options_to_pb(InstanceOptions(threads=1))
            order = pb.LoadRequest(
                instance="m@1", worker="w0", format="onnx", directory=str(directory), options=options
            )
            loaded = await one.stub.Load(order)
            one.port = loaded.execute_port
            assert loaded.platform == "onnxruntime_onnx"
            assert [t.name for t in loaded.signature.inputs] == ["x"]
            yield one
    finally:
        os.close(gate)
        child.signal(signal.SIGKILL)
        await child.wait()


async def test_on_the_first_signal_it_finishes_what_is_queued_and_ends(tmp_path: Path) -> None:
    async with running(tmp_path, 30) as runner:
        stream = await runner.calls(5)
        runner.let_go(1)
        assert [r.id for r in await stream.replies()] == [1]
        runner.child.signal(signal.SIGTERM)
        await eventually(runner.stopping)
        runner.let_go(4)
        found: dict[int, pb.Reply] = {}
        while (response := await stream.read()) is not None:
            found |= {r.id: r for r in response.replies}
        assert {n: values(r.response) for n, r in found.items()} == {n: [n] for n in range(2, 6)}
        assert await asyncio.wait_for(runner.child.wait(), 30) == 0


async def test_what_does_not_finish_is_not_waited_for_beyond_the_bound(tmp_path: Path) -> None:
    async with running(tmp_path, 0.2) as runner:
        await runner.calls(1)
        runner.child.signal(signal.SIGTERM)
        assert await asyncio.wait_for(runner.child.wait(), 30) == 1


async def test_the_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, 600) as runner:
        await runner.calls(1)
        runner.child.signal(signal.SIGTERM)
        await eventually(runner.stopping)
        runner.child.signal(signal.SIGTERM)
        assert await asyncio.wait_for(runner.child.wait(), 30) == -signal.SIGKILL


async def test_it_answers_the_open_inference_protocol_for_what_it_holds(tmp_path: Path) -> None:
    async with running(tmp_path, 30) as runner:
        runner.let_go(1)
        answer = await runner.oip.ModelInfer(messages.ModelInferRequest.FromString(request(7)))
        assert values(answer.SerializeToString()) == [7]
        assert answer.parameters["worker"].string_param == "w0"
        assert await runner.counted() == 1
        await runner.stub.Unload(pb.UnloadRequest(instance="m@1"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await runner.oip.ModelInfer(messages.ModelInferRequest.FromString(request(7)))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
