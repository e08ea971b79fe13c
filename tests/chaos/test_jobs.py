"""Jobs of a million rows while everything that they depend on is killed or stopped: every row has exactly one result.

Jobs are submitted until each kind of fault was injected at least once while one was going on. CHAOS_ROWS in the
environment sets another number of rows.
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
Fault = Callable[[RunningSuite], Mended | None]
"""Returns whether it has been mended by now; None: nothing is there that it could be done to."""


def kill(suite: RunningSuite, name: str) -> Mended:
    """SIGKILL to a process of the suite, which starts it again."""
    killed = suite.kill(name)
    return lambda: suite.ready(name, after=killed)


def stop_runner(suite: RunningSuite, worker: str) -> Mended | None:
    """SIGSTOP to the model's runner on a worker, for good: its agent has to notice."""
    runner = runners(suite, f"{MODEL}@1").get(worker)
    if runner is None:
        return None
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


FAULTS: dict[str, Fault] = {
    **{f"kill {name}": partial(kill, name=name) for name in (*WORKERS, "scheduler-0", "registry-0", "redis", "etcd")},
    **{f"stop the runner of {worker}": partial(stop_runner, worker=worker) for worker in WORKERS},
    **{f"stop {worker} for 25 s": partial(stop_worker, worker=worker) for worker in WORKERS},
}


class Deck:
    """Faults in random order, each as often as any other, give or take one.

    Attributes:
        injected: how often each was.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._left: list[str] = []
        self.injected = Counter[str]()

    @property
    def is_dealt(self) -> bool:
        """Whether each was injected at least once."""
        return self.injected.keys() == FAULTS.keys()

    async def inject(self, suite: RunningSuite, job: asyncio.Future[None]) -> None:
        """Inject faults, one after the other is mended, as long as a job goes on; what comes too late is kept."""
        while not job.done():
            await asyncio.sleep(self._dice.uniform(*PAUSE_S))
            self._left = self._left or self._dice.sample(sorted(FAULTS), len(FAULTS))
            if job.done():
                return
            if mended := FAULTS[self._left[-1]](suite):
                self.injected[self._left.pop()] += 1
                await eventually(mended, 120)


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


def check(path: Path, wanted: np.ndarray) -> None:
    """Every row has exactly one result, and it is that of a local run."""
    found = pq.read_table(path)["y"].combine_chunks().flatten().to_numpy().reshape(-1, 10)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


async def test_a_million_rows(suite: Callable[..., RunningSuite], tmp_path: Path) -> None:
    running, model, rows = suite(workers=2), models.mlp((WIDTH, 1024, 1024, 10)), data()
    np.save(tmp_path / "rows.npy", rows)
    wanted, deck = expected(model, rows), Deck(random.Random(SEED))
    async with Client(running.address, timeout_s=300) as client:
        await client.push(MODEL, models.save(model, tmp_path / "model.onnx"))
        while not deck.is_dealt:
            seen, began_s = Counter[str](), time.monotonic()
            job = await client.jobs.submit(MODEL, tmp_path / "rows.npy", JobOptions(max_attempts=20))
            watching = asyncio.ensure_future(watched(client, job.id, seen))
            await deck.inject(running, watching)
            await watching
            done = await client.jobs.get(job)
            told = ", ".join(f"{count} {name}" for name, count in sorted(seen.items()))
            print(f"\n{done.state}: {done.progress.done_rows} rows in {time.monotonic() - began_s:.0f} s; {told}")
            assert (done.state, done.reason) == (JobState.SUCCEEDED, "")
            await client.jobs.results(job, tmp_path / "out.parquet")
            await asyncio.to_thread(check, tmp_path / "out.parquet", wanted)
    print("injected:\n" + "\n".join(f"  {count:3}  {name}" for name, count in sorted(deck.injected.items())))
    assert deck.injected.keys() == FAULTS.keys()
