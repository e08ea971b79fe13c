"""A load generator in a process of its own: `python -m bench.load`. Prints latencies and its own count as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import grpc.aio
import numpy as np
import uvloop

from modelyard.oip import messages

SERVICE = "/inference.GRPCInferenceService/"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
ID_TAG = b"\x1a"
"""Field 3 of a ModelInferRequest, its id: added at the end, where the protocol lets any field stand."""


async def unary(channel: grpc.aio.Channel, payload: bytes, concurrency: int, seconds: float) -> list[float]:
    """Keep `concurrency` unary calls in flight for a while; return each call's latency in seconds."""
    latencies: list[float] = []
    method = channel.unary_unary(SERVICE + "ModelInfer", None, None)
    await method(payload, wait_for_ready=True)
    ends_s = time.perf_counter() + seconds

    async def one() -> None:
        while (started_s := time.perf_counter()) < ends_s:
            await method(payload)
            latencies.append(time.perf_counter() - started_s)

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return latencies


async def stream(channel: grpc.aio.Channel, payload: bytes, concurrency: int, seconds: float) -> list[float]:
    """Keep `concurrency` messages in flight on one ModelStreamInfer; return the latency of each in seconds."""
    latencies: list[float] = []
    method: Any = channel.stream_stream(SERVICE + "ModelStreamInfer", None, None)
    call = method(wait_for_ready=True)
    started: dict[str, float] = {}

    async def send(number: int) -> None:
        name = str(number)
        started[name] = time.perf_counter()
        await call.write(payload + ID_TAG + bytes([len(name)]) + name.encode())

    for number in range(concurrency):
        await send(number)
    ends_s = time.perf_counter() + seconds
    sent = concurrency
    while started:
        answer = messages.ModelStreamInferResponse.FromString(await call.read())
        if answer.error_message:
            raise RuntimeError(f"the server answers: {answer.error_message}")
        now_s = time.perf_counter()
        latencies.append(now_s - started.pop(answer.infer_response.id))
        if now_s < ends_s:
            await send(sent)
            sent += 1
    await call.done_writing()
    return latencies


async def drive(options: argparse.Namespace, payload: bytes) -> dict[str, Any]:
    """Drive the server; return the report."""
    async with grpc.aio.insecure_channel(options.address, options=OPTIONS) as channel:
        start_s = time.perf_counter()
        way = stream if options.stream else unary
        latencies = await way(channel, payload, options.concurrency, options.seconds)
        taken_s = time.perf_counter() - start_s
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e6
    rate = round(len(latencies) / taken_s, 1)
    return {"requests": len(latencies), "requests_per_s": rate, "p50_us": round(p50), "p99_us": round(p99)}


def main() -> None:
    """Read the serialized request from standard input, drive, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--stream", action="store_true", help="one ModelStreamInfer in the place of unary calls")
    options = parser.parse_args()
    try:
        report = uvloop.run(drive(options, sys.stdin.buffer.read()))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
