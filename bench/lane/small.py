"""Small jobs: how many a second one client gets done, and how long a single asynchronous call takes on an idle system.

The jobs have two rows each, which go along with the call; the model takes microseconds. So this is what a job costs
apart from its rows. `calls` are one after the other, from `submit` to the arrays that `result` returns; where their
time goes is told by the times in their records.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination, cpu_by_program
from bench.suite import running
from modelyard.aio import Client
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.local.commands import Status
from tests import models

MODEL, WIDTH = "small", 64
ROWS = {"x": np.ones((2, WIDTH), np.float32)}
AT_ONCE = 16
MOST_S = 0.5
"""That a single call may take, at the median."""


async def done(client: Client, job: Job) -> Job:
    """A job that has ended well."""
    ended = await client.jobs.wait(job)
    if ended.state is not JobState.SUCCEEDED:
        raise RuntimeError(f"job {ended.id}: {ended.state} {ended.reason}")
    return ended


async def throughput(client: Client, suite: Status, jobs: int) -> dict[str, Any]:
    """Submit so many jobs, some at once, and wait until the last has ended."""
    room = asyncio.Semaphore(AT_ONCE)

    async def submitted() -> Job:
        async with room:
            return await client.jobs.submit(MODEL, ROWS)

    before, began_s = cpu_by_program([suite.pid]), time.perf_counter()
    found = await asyncio.gather(*(submitted() for _ in range(jobs)))
    submitted_s = time.perf_counter() - began_s
    for job in found:
        await done(client, job)
    took_s, after = time.perf_counter() - began_s, cpu_by_program([suite.pid])
    spent = {name: round((s - before.get(name, 0.0)) / jobs * 1e3, 1) for name, s in sorted(after.items())}
    return {
        "jobs": jobs,
        "submitted_per_s": round(jobs / submitted_s, 1),
        "done_per_s": round(jobs / took_s, 1),
        "cpu_ms_per_job": {name: ms for name, ms in spent.items() if ms >= 0.1},
    }


async def calls(client: Client, count: int) -> dict[str, Any]:
    """Single calls, one after the other: the whole of each, and its parts as they are told by its record."""
    times: dict[str, list[float]] = {}
    for _ in range(count):
        began_s, began = time.perf_counter(), time.time()
        call = await client.submit(MODEL, ROWS)
        accepted_s = time.perf_counter() - began_s
        await call.result()
        took_s = time.perf_counter() - began_s
        job = await client.jobs.get(call.id)
        parts = {
            "all": took_s,
            "submit": accepted_s,
            "planning": job.start_time_s - job.create_time_s,
            "running": job.end_time_s - job.start_time_s,
            "result": began + took_s - job.end_time_s,
        }
        for name, seconds in parts.items():
            times.setdefault(name, []).append(seconds * 1e3)
    return {name: told(found) for name, found in times.items()}


def told(times_ms: Sequence[float]) -> dict[str, float]:
    """Median and p99."""
    p99 = statistics.quantiles(times_ms, n=100, method="inclusive")[98]
    return {"p50_ms": round(statistics.median(times_ms), 1), "p99_ms": round(p99, 1)}


async def measure(suite: Status, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Calls, then jobs, with the model deployed."""
    async with Client(suite.address, timeout_s=120) as client:
        await client.push(MODEL, models.save(models.mlp((WIDTH, 10)), scratch / "model.onnx"))
        await client.deploy(MODEL, replicas=2)
        for _ in range(5):  # planner and readers are started
            await (await client.submit(MODEL, ROWS)).result()
        return {"calls": await calls(client, options.calls), "jobs": await throughput(client, suite, options.jobs)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--calls", type=int, default=50)
    options = parser.parse_args()
    clean_up_on_termination()
    with tempfile.TemporaryDirectory() as scratch, running(workers=2) as suite:
        found = asyncio.run(measure(suite, options, Path(scratch)))
    table([{"of a call": name, **times} for name, times in found["calls"].items()])
    table([{name: figure for name, figure in found["jobs"].items() if name != "cpu_ms_per_job"}])
    table([found["jobs"]["cpu_ms_per_job"]])
    conclude(found, [Bound("seconds of a single call, median", found["calls"]["all"]["p50_ms"] / 1e3, most=MOST_S)])


if __name__ == "__main__":
    main()
