"""Goodput when more comes than can be served: arrivals that wait for nobody, up to three times the capacity.

The model occupies the device for a fixed time a batch and burns no CPU, so its capacity is known. A call is good if its
answer came within its deadline; who is refused does not try again. The peak is the best goodput of all rates. Two
queues are tried: one that is shorter than the deadline, and the default one, which is longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import uvloop

from bench.load import SERVICE
from bench.processes import clean_up_on_termination, machine, resident_by_program
from bench.suite import running
from modelyard import Client
from modelyard.deployment import DEFAULT_QUEUE_SIZE, InstanceOptions
from modelyard.oip.tensors import encode_request
from modelyard.rpc.status import PUSHBACK_KEY
from tests import models

BATCH_ROWS = 4
BATCH_MS = 20
CAPACITY_PER_S = BATCH_ROWS / BATCH_MS * 1e3
WIDTH = 4096
"""Elements of a request, 16 KiB: what a queue holds shows in the memory."""
SHORT_QUEUE = 64
SAMPLE_S = 0.25
TOLERANCE = 1.1
REFUSED, LATE, GOOD = "refused, with a retry delay", "late", "good"
MIB = 1 << 20


@dataclass(frozen=True)
class Arrivals:
    """Calls at random times (Poisson), `per_s` on average, each to be answered within `deadline_s`."""

    per_s: float
    seconds: float
    deadline_s: float

    def times(self) -> Iterator[float]:
        """When each comes, in seconds from the start."""
        rng, now_s = random.Random(1), 0.0
        while (now_s := now_s + rng.expovariate(self.per_s)) < self.seconds:
            yield now_s


async def call(method: Any, payload: bytes, deadline_s: float) -> str:
    """Call once; return what became of it."""
    try:
        await method(payload, timeout=deadline_s)
    except grpc.aio.AioRpcError as error:
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return LATE
        trailers: dict[str, Any] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type]
        delayed = code is grpc.StatusCode.RESOURCE_EXHAUSTED and int(trailers.get(PUSHBACK_KEY, 0)) > 0
        return REFUSED if delayed else code.name
    return GOOD


async def offer(address: str, payload: bytes, arrivals: Arrivals) -> Counter[str]:
    """Let the calls come; count what becomes of them."""
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(SERVICE + "ModelInfer", None, None)
        await method(payload, wait_for_ready=True)
        start_s, calls = time.perf_counter(), []
        for at_s in arrivals.times():
            await asyncio.sleep(max(0.0, start_s + at_s - time.perf_counter()))
            calls.append(asyncio.ensure_future(call(method, payload, arrivals.deadline_s)))
        return Counter(await asyncio.gather(*calls))


async def watched(address: str, pid: int, payload: bytes, arrivals: Arrivals) -> dict[str, Any]:
    """Offer, and watch the memory of all processes."""
    samples = [resident_by_program([pid])]

    async def sample() -> None:
        while True:
            samples.append(await asyncio.to_thread(resident_by_program, [pid]))
            await asyncio.sleep(SAMPLE_S)

    sampling = asyncio.ensure_future(sample())
    try:
        outcomes = await offer(address, payload, arrivals)
    finally:
        sampling.cancel()
    totals = [sum(by_program.values()) / MIB for by_program in samples]
    return {
        "offered_per_s": round(arrivals.per_s),
        "good_per_s": round(outcomes[GOOD] / arrivals.seconds, 1),
        "outcomes": dict(outcomes),
        "mib_before": round(totals[0]),
        "mib_half_way": round(max(totals[: len(totals) // 2 + 1])),
        "mib_peak": round(max(totals)),
    }


def delayed_model(path: Path) -> Path:
    """Write the model: x FP32 [-1, WIDTH] -> y of the same shape."""
    model = models.identity("FP32", (-1, WIDTH))
    model.metadata_props.add(key="modelyard.delay_ms", value=str(BATCH_MS))
    return models.save(model, path)


def check_delays(rows: Sequence[dict[str, Any]]) -> None:
    """Raise RuntimeError if more was served than the device can: then the model's delays meant nothing."""
    most = max(row["good_per_s"] for row in rows)
    if most > CAPACITY_PER_S * TOLERANCE:
        raise RuntimeError(f"expected at most {CAPACITY_PER_S} good calls a second, got {most}: no delays in effect")


def measure(queue: int, options: argparse.Namespace) -> dict[str, Any]:
    """Offer every rate to a suite with that queue."""
    payload = encode_request("slow", "", {"x": np.zeros((1, WIDTH), np.float32)}).SerializeToString()
    rows = []
    with running(delays=True) as suite, tempfile.TemporaryDirectory() as scratch, Client(suite.address) as client:
        client.push("slow", delayed_model(Path(scratch) / "slow.onnx"))
        client.deploy("slow", options=InstanceOptions(max_batch_size=BATCH_ROWS, max_queue_size=queue))
        for rate in options.rates:
            arrivals = Arrivals(rate * CAPACITY_PER_S, options.seconds, options.deadline_s)
            rows.append(uvloop.run(watched(suite.address, suite.pid, payload, arrivals)))
    check_delays(rows)
    peak = max(row["good_per_s"] for row in rows)
    ratio = rows[-1]["good_per_s"] / peak
    return {
        "queue": queue,
        "capacity_per_s": CAPACITY_PER_S,
        "rows": rows,
        "goodput_to_peak": round(ratio, 3),
        "verdict": "met" if ratio >= options.aim else f"missed by {1 - ratio / options.aim:.0%}",
    }


def main() -> None:
    """Measure and print."""
    clean_up_on_termination()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 0.8, 1.0, 1.5, 3.0], help="of the capacity")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--deadline-s", type=float, default=1.0)
    parser.add_argument("--queues", type=int, nargs="+", default=[SHORT_QUEUE, DEFAULT_QUEUE_SIZE])
    parser.add_argument("--aim", type=float, default=0.9, help="goodput at the last rate to the peak, at least")
    options = parser.parse_args()
    found = [measure(queue, options) for queue in options.queues]
    print(json.dumps({"machine": machine(), "deadline_s": options.deadline_s, "queues": found}, indent=1))


if __name__ == "__main__":
    main()
