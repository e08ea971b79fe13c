"""A job of a million rows while everything that it depends on is killed or stopped: every row has exactly one result.

CHAOS_ROWS in the environment sets another number of rows.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest

from modelyard.aio import Client
from modelyard.jobs.job import EventKind
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.options import JobOptions
from tests import models
from tests.integration.serving.traffic import runners
from tests.suites import RunningSuite
from tests.waiting import eventually

ROWS = int(os.environ.get("CHAOS_ROWS", "1000000"))
WIDTH = 64
SEED = 20261122
PAUSE_S = (2.0, 8.0)
"""Between two faults: random, since it is the moments that matter."""
MODEL, WORKERS = "chaos", ("worker-0", "worker-1")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
Mended = Callable[[], bool]


def kill(suite: RunningSuite, name: str) -> Mended:
    """SIGKILL to a process of the suite, which starts it again."""
    killed = suite.kill(name)
    return lambda: suite.ready(name, after=killed)


def stop_runner(suite: RunningSuite, worker: str) -> Mended:
    """SIGSTOP to the model's runner on a worker, for good: its agent has to notice."""
    runner = runners(suite, f"{MODEL}@1").get(worker)
    if runner is None:
        return lambda: True
    runner.signal(signal.SIGSTOP)
    return lambda: not runner.lives


def stop_worker(suite: RunningSuite, worker: str) -> Mended:
    """SIGSTOP to an agent for longer than the lease of what it has claimed: what it does then is stale."""
    pid = suite.signal(worker, signal.SIGSTOP)
    until_s = time.monotonic() + 25.0

    def woken() -> bool:
        if time.monotonic() < until_s:
            return False
        os.kill(pid, signal.SIGCONT)
        return True

    return woken


FAULTS: dict[str, Callable[[RunningSuite], Mended]] = {
    **{f"kill {name}": partial(kill, name=name) for name in (*WORKERS, "scheduler-0", "registry-0", "redis", "etcd")},
    **{f"stop the runner of {worker}": partial(stop_runner, worker=worker) for worker in WORKERS},
    **{f"stop {worker} for 25 s": partial(stop_worker, worker=worker) for worker in WORKERS},
}


def data() -> np.ndarray:
    """Rows FP32 [ROWS, 64], each with its own number in the first column."""
    found = np.random.default_rng(SEED).standard_normal((ROWS, WIDTH), dtype=np.float32)
    found[:, 0] = np.arange(ROWS) % 4096 / 4096
    return found


def expected(model: onnx.ModelProto, rows: np.ndarray) -> np.ndarray:
    """What a local run makes of them."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": rows[at : at + 4096]})[0] for at in range(0, len(rows), 4096)])


async def watched(client: Client, job: str, seen: Counter[str]) -> None:
    """Count what is told of a job, each event once, until it has ended."""
    numbers: set[tuple[int, EventKind]] = set()
    async for event in client.jobs.watch(job):
        if event.kind not in {EventKind.PROGRESS, EventKind.SNAPSHOT}:
            assert (event.event, event.kind) not in numbers
            numbers.add((event.event, event.kind))
        seen[event.kind.value] += 1


async def inject(suite: RunningSuite, going_on: Callable[[], bool]) -> Counter[str]:
    """Inject faults, one after the other is mended, as long as the job goes on."""
    dice, injected = random.Random(SEED), Counter[str]()
    while going_on():
        await asyncio.sleep(dice.uniform(*PAUSE_S))
        name, fault = dice.choice(sorted(FAULTS.items()))
        if going_on():
            injected[name] += 1
            await eventually(fault(suite), 120)
    return injected


async def test_a_million_rows(suite: Callable[..., RunningSuite], tmp_path: Path) -> None:
    running, model, rows = suite(workers=2), models.mlp((WIDTH, 3072, 3072, 10)), data()
    np.save(tmp_path / "rows.npy", rows)
    seen: Counter[str] = Counter()
    async with Client(running.address, timeout_s=300) as client:
        await client.push(MODEL, models.save(model, tmp_path / "model.onnx"))
        began_s = time.monotonic()
        job = await client.jobs.submit(MODEL, tmp_path / "rows.npy", JobOptions(max_attempts=20))
        watching = asyncio.ensure_future(watched(client, job.id, seen))
        injected = await inject(running, lambda: not watching.done())
        await watching
        done = await client.jobs.get(job)
        await client.jobs.results(job, tmp_path / "out.parquet")
    table = "\n".join(f"  {count:3}  {name}" for name, count in sorted(injected.items()))
    told = ", ".join(f"{count} {name}" for name, count in sorted(seen.items()))
    took_s = time.monotonic() - began_s
    print(f"\n{done.state}: {done.progress.done_rows} rows in {took_s:.0f} s; {told}; injected:\n{table}")
    assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
    found = pq.read_table(tmp_path / "out.parquet")["y"].combine_chunks().flatten().to_numpy().reshape(-1, 10)
    assert found.shape == (ROWS, 10)
    np.testing.assert_allclose(found, expected(model, rows), rtol=0, atol=1e-4)
    assert injected
