"""Requests that flow while a worker is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rich.table import Table

from examples.suite import console
from modelyard.aio import Client
from modelyard.errors import ModelyardError

Floats = npt.NDArray[np.float32]
TOLERANCE = 1e-6
CONCURRENCY = 8
AFTER_THE_KILL = 2000
"""Requests that must be answered after the worker was killed."""

RECOVERY_S = 30.0


@dataclass(frozen=True)
class Questions:
    """What is asked, and what must be answered: that of a local run of ONNX Runtime, within TOLERANCE.

    Attributes:
        images: FP32 [n, 64].
        expected: FP32 [n, 10].
    """

    model: str
    images: Floats
    expected: Floats


@dataclass
class Tally:
    """What became of a stream of requests."""

    latencies_s: list[float] = field(default_factory=list)
    by_worker: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    wrong: int = 0

    def percentile_ms(self, share: float) -> float:
        """A percentile of the latencies."""
        return float(np.percentile(self.latencies_s, share)) * 1e3

    def report(self) -> None:
        """Print latencies, and which worker served how much."""
        table = Table("worker", "requests", "share", box=None, padding=(0, 3, 0, 1))
        for worker, count in sorted(self.by_worker.items()):
            table.add_row(worker, str(count), f"{count / self.by_worker.total():.0%}")
        console.print(table)
        median, worst = self.percentile_ms(50), self.percentile_ms(99)
        console.print(f"  p50 {median:.2f} ms, p99 {worst:.2f} ms, {CONCURRENCY} in flight\n")

    def problems(self) -> list[str]:
        """What went wrong."""
        return [*self.failures, *[f"{self.wrong} answers differ from the local run"] * bool(self.wrong)]


async def ask(client: Client, questions: Questions, row: int, tally: Tally) -> None:
    """Classify one image, compare with the local run, note everything."""
    started_s = time.perf_counter()
    try:
        result = await client.infer_result(questions.model, {"input": questions.images[row][None]})
    except ModelyardError as error:
        tally.failures.append(f"{type(error).__name__}: {error}")
        return
    tally.latencies_s.append(time.perf_counter() - started_s)
    tally.by_worker[result.worker] += 1
    tally.wrong += not np.allclose(result.outputs["output"][0], questions.expected[row], rtol=0, atol=TOLERANCE)


async def classify(client: Client, questions: Questions) -> Tally:
    """Classify every image, several at a time."""
    tally = Tally()
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one(row: int) -> None:
        async with slots:
            await ask(client, questions, row, tally)

    await asyncio.gather(*(one(row) for row in range(len(questions.images))))
    return tally


class Storm:
    """Requests that flow while a worker that has answered is killed, until many more were answered."""

    def __init__(self, client: Client, questions: Questions, pids: dict[str, int]) -> None:
        self.tally = Tally()
        self.victim = ""
        self._client = client
        self._questions = questions
        self._pids = pids
        self._goal = sys.maxsize
        self._killed_s = 0.0

    async def run(self) -> None:
        """Keep several requests in flight."""
        await asyncio.gather(*(self._ask_on(offset) for offset in range(CONCURRENCY)))

    async def recovery_s(self) -> float:
        """Ask on until the killed worker answers again; return how long after its death that was, in seconds."""
        after = Tally()
        while self.victim not in after.by_worker:
            await ask(self._client, self._questions, 0, after)
            if time.perf_counter() - self._killed_s > RECOVERY_S:
                self.tally.failures.append(f"{self.victim} did not answer again within {RECOVERY_S:g} s")
                break
        self.tally.failures += after.failures
        return time.perf_counter() - self._killed_s

    async def _ask_on(self, index: int) -> None:
        while len(self.tally.latencies_s) < self._goal and len(self.tally.failures) < AFTER_THE_KILL:
            await ask(self._client, self._questions, index % len(self._questions.images), self.tally)
            index += CONCURRENCY
            if not self.victim and len(self.tally.by_worker) > 1:
                self._kill()

    def _kill(self) -> None:
        self.victim = self.tally.by_worker.most_common()[0][0]
        os.kill(self._pids[self.victim], signal.SIGKILL)
        self._killed_s = time.perf_counter()
        self._goal = len(self.tally.latencies_s) + AFTER_THE_KILL
