"""A load generator in a process of its own: `python -m bench.load`. Prints latencies and its own count as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import grpc.aio
import numpy as np
import uvloop

PATH = "/inference.GRPCInferenceService/ModelInfer"


async def drive(address: str, payload: bytes, concurrency: int, seconds: float) -> list[float]:
    """Keep `concurrency` unary calls in flight for a while; return each call's latency in seconds."""
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(PATH, None, None)
        await method(payload, wait_for_ready=True)
        ends_s = time.perf_counter() + seconds

        async def one() -> None:
            while (started_s := time.perf_counter()) < ends_s:
                await method(payload)
                latencies.append(time.perf_counter() - started_s)

        await asyncio.gather(*(one() for _ in range(concurrency)))
    return latencies


def main() -> None:
    """Read the serialized request from standard input, drive, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    payload = sys.stdin.buffer.read()
    latencies = uvloop.run(drive(options.address, payload, options.concurrency, options.seconds))
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e6
    print(json.dumps({"requests": len(latencies), "p50_us": round(p50), "p99_us": round(p99)}))


if __name__ == "__main__":
    main()
