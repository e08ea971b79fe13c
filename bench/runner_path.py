"""What a call costs a runner: CPU time of its process a call, with many in flight on one execute stream.

One 64-128-128-10 ONNX model, batch 1; as many calls are sent as replies come, in one message. Beside it 16 MiB tensors,
one call at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from modelyard import process
from modelyard.deployment import InstanceOptions
from modelyard.oip.tensors import encode_request
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.v1 import runner_pb2 as pb
from tests import models
from tests.executing import Execution

SERVICE = pb.DESCRIPTOR.services_by_name["Runner"]
LARGE = 4 << 20
"""Elements of 4 bytes."""


async def drive(port: int, instance: str, request: bytes, in_flight: int, seconds: float) -> int:
    """Keep calls in flight for so long; return how many were answered."""
    stream = await Execution.open(port, instance)
    next_id = 0

    def send(count: int) -> None:
        nonlocal next_id
        calls = [pb.Call(id=next_id + n + 1, request=request, timeout_us=60_000_000) for n in range(count)]
        next_id += count
        stream.write(pb.ExecuteRequest(calls=calls))

    send(in_flight)
    answered, ends_s = 0, time.monotonic() + seconds
    while answered < next_id:
        replies = await stream.replies()
        assert all(r.response for r in replies), replies[0].failure
        answered += len(replies)
        if time.monotonic() < ends_s:
            send(len(replies))
    stream.cancel()
    return answered


async def measure(port: int, pid: int, instance: str, request: bytes, in_flight: int, seconds: float) -> dict[str, Any]:
    """One row of the report."""
    await drive(port, instance, request, in_flight, seconds / 4)
    before, began_s = psutil.Process(pid).cpu_times(), time.monotonic()
    calls = await drive(port, instance, request, in_flight, seconds)
    after, took_s = psutil.Process(pid).cpu_times(), time.monotonic() - began_s
    cpu_s = after.user + after.system - before.user - before.system
    return {
        "instance": instance,
        "in_flight": in_flight,
        "cpu_us": round(cpu_s / calls * 1e6, 1),
        "calls_per_s": round(calls / took_s),
    }


async def run(seconds: float, in_flight: list[int], batch_sizes: list[int]) -> list[dict[str, Any]]:
    """Start a runner, load, measure."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, model in (("mlp", models.mlp()), ("large", models.identity("FP32", (1, -1)))):
            (Path(scratch) / name).mkdir()
            models.save(model, Path(scratch) / name / "model.onnx")
        child = await process.start([sys.executable, "-m", "modelyard_worker.runner"], os.environ, None)
        try:
            ready = await anext(child.reports())
            async with open_channel(ready["address"]) as channel:
                stub = Stub(channel, SERVICE)
                payload = encode_request("mlp", "", {"x": np.zeros((1, 64), np.float32)}).SerializeToString()
                for size in batch_sizes:
                    port = await _load(stub, scratch, "mlp", f"mlp@{size}", size)
                    rows += [
                        await measure(port, child.pid, f"mlp@{size}", payload, count, seconds) for count in in_flight
                    ]
                port = await _load(stub, scratch, "large", "large@1", 0)
                payload = encode_request("large", "", {"x": np.zeros((1, LARGE), np.float32)}).SerializeToString()
                rows.append(await measure(port, child.pid, "large@1", payload, 1, seconds))
        finally:
            await child.stop(10)
    return rows


async def _load(stub: Stub, scratch: str, name: str, instance: str, batch_size: int) -> int:
    options = convert.options_to_pb(InstanceOptions(threads=1, max_batch_size=batch_size))
    directory = str(Path(scratch) / name)
    order = pb.LoadRequest(instance=instance, worker="w", format="onnx", directory=directory, options=options)
    return int((await stub.Load(order)).execute_port)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[0, 64])
    options = parser.parse_args()
    for row in asyncio.run(run(options.seconds, options.in_flight, options.batch_sizes)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
