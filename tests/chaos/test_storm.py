"""Processes are killed or stopped in random order while clients call: no call fails, and no answer is wrong."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from modelyard import Client as SyncClient
from modelyard.aio import Client
from modelyard.errors import ModelyardError
from tests import models
from tests.integration.serving.traffic import MODEL, runners
from tests.suites import RunningSuite
from tests.waiting import eventually

FAULTS = 40
CLIENTS = 8
WORKERS = ("worker-0", "worker-1")
SEED = 20261121

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The model's file."""
    return models.save(models.mlp(), tmp_path / "mlp.onnx")


@pytest.fixture
def served(tmp_path: Path, model: Path) -> Iterator[RunningSuite]:
    """A suite of two workers, the model on both."""
    suite = RunningSuite(tmp_path / "suite", workers=2)
    with SyncClient(suite.address, timeout_s=120) as client:
        client.push(MODEL, model)
        client.deploy(MODEL, replicas=2, timeout_s=120)
    yield suite
    suite.down()


class Callers:
    """Clients of the SDK that call on and on, each answer compared with a local run."""

    def __init__(self, client: Client, model: Path) -> None:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        rows = np.random.default_rng(SEED).standard_normal((100, 64)).astype(np.float32)
        self._cases = [(row[None], session.run(None, {"x": row[None]})[0]) for row in rows]
        self._client = client
        self._stopped = False
        self.answered = 0
        self.wrong = 0
        self.failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Call until stopped."""
        await asyncio.gather(*(self._call(random.Random(i)) for i in range(CLIENTS)))

    async def more(self, count: int) -> None:
        """Wait until so many further calls have been answered."""
        least = self.answered + count
        await eventually(lambda: self.answered >= least, 120)

    def stop(self) -> None:
        """Let the calls under way finish."""
        self._stopped = True

    async def _call(self, dice: random.Random) -> None:
        while not self._stopped:
            row, expected = dice.choice(self._cases)
            try:
                answer = await self._client.infer(MODEL, {"x": row})
            except ModelyardError as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
            else:
                self.answered += 1
                self.wrong += not np.allclose(answer["y"], expected, rtol=0, atol=1e-6)


Recovered = Callable[[], bool]


def kill_process(suite: RunningSuite, name: str) -> Recovered:
    """SIGKILL to one of the suite's processes."""
    killed = suite.kill(name)
    return lambda: suite.ready(name, after=killed)


def end_runner(suite: RunningSuite, worker: str, number: signal.Signals) -> Recovered:
    """A signal to the model's runner on a worker."""
    runner = runners(suite, f"{MODEL}@1")[worker]
    runner.signal(number)
    return lambda: not runner.lives and worker in runners(suite, f"{MODEL}@1")


FAULT_KINDS: dict[str, Callable[[RunningSuite], Recovered]] = {
    **{
        f"kill {name}": partial(kill_process, name=name)
        for name in ("registry-0", "scheduler-0", "etcd", "redis", *WORKERS)
    },
    **{f"kill the runner of {w}": partial(end_runner, worker=w, number=signal.SIGKILL) for w in WORKERS},
    **{f"stop the runner of {w}": partial(end_runner, worker=w, number=signal.SIGSTOP) for w in WORKERS},
}
"""What is done to the suite; each returns whether that has been mended."""


async def well(client: Client) -> bool:
    """Whether both workers are there and both replicas READY."""
    return len(await client.workers()) == len(WORKERS) and (await client.deployment(MODEL)).ready_replicas == 2


async def test_storm(served: RunningSuite, model: Path) -> None:
    dice = random.Random(SEED)
    injected: Counter[str] = Counter()
    async with Client(served.address, timeout_s=120) as client:
        callers = Callers(client, model)
        calling = asyncio.ensure_future(callers.run())
        for _ in range(FAULTS):
            name, inject = dice.choice(sorted(FAULT_KINDS.items()))
            await eventually(inject(served), 120)
            injected[name] += 1
            await eventually(partial(well, client), 120)
            await callers.more(100)
        callers.stop()
        await calling
    table = "\n".join(f"  {count:3}  {name}" for name, count in sorted(injected.items()))
    print(f"\n{callers.answered} calls, {callers.failures.total()} failed, {callers.wrong} wrong; injected:\n{table}")
    assert callers.failures == {}
    assert callers.wrong == 0
