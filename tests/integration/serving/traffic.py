"""Clients that call without pause and without retries, and note what they get; and the processes that they call."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc.aio
import numpy as np
import psutil

from modelyard.local import kernel
from modelyard.oip import messages
from modelyard.oip.tensors import decode_response, encode_request
from modelyard.rpc.channel import Stub, open_channel
from tests.suites import RunningSuite
from tests.waiting import eventually

MODEL = "mlp"
ROWS = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)


class Traffic:
    """Raw gRPC clients, each on a connection of its own, calling the model one call after the other.

    Attributes:
        statuses: how often each status came.
        failures: what came that was not OK, with its message.
        workers: which worker answered how often.
    """

    def __init__(self, address: str, clients: int = 8, model: str = MODEL) -> None:
        self.statuses: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.workers: Counter[str] = Counter()
        self._address = address
        self._request = encode_request(model, "", {"x": ROWS})
        self._pause_s = 0.0
        self._stopped = False
        self._clients = [asyncio.ensure_future(self._call()) for _ in range(clients)]

    async def __aenter__(self) -> Self:
        """Wait until the first answers have come."""
        await self.more(50)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the calls under way finish."""
        self._stopped = True
        await asyncio.gather(*self._clients)

    async def more(self, count: int) -> None:
        """Wait until so many further calls have been answered."""
        least = self.statuses["OK"] + count
        await eventually(lambda: self.statuses["OK"] >= least, 60)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; meanwhile they call less often, as what starts anew needs the machine, too."""
        self._pause_s = 0.05
        await eventually(condition, 60)
        self._pause_s = 0.0

    async def answered_by(self, *workers: str) -> None:
        """Wait until each of these workers has answered anew."""
        before = self.workers.copy()
        await eventually(lambda: all(self.workers[w] > before[w] for w in workers), 60)

    async def _call(self) -> None:
        async with open_channel(self._address) as channel:
            infer = Stub(channel, messages.SERVICE).ModelInfer
            while not self._stopped:
                try:
                    answer = await infer(self._request, timeout=60)
                except grpc.aio.AioRpcError as error:
                    self.statuses[error.code().name] += 1
                    self.failures[f"{error.code().name}: {error.details()}"] += 1
                    await asyncio.sleep(0.01)
                else:
                    assert decode_response(answer)["y"].shape == (2, 10)
                    self.statuses["OK"] += 1
                    self.workers[answer.parameters["worker"].string_param] += 1
                    if self._pause_s:
                        await asyncio.sleep(self._pause_s)


def arguments(process: kernel.Process) -> list[str]:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def runners(suite: RunningSuite, name: str) -> dict[str, kernel.Process]:
    """The runners of a name (an instance's is "model@version") that live now, by worker."""
    found = {}
    for worker in (p for p in suite.processes() if p.name.startswith("worker-")):
        for process in kernel.tree(worker.pid)[1:]:
            line = arguments(process)
            if "modelyard_worker.runner" in line and line[line.index("--name") + 1] == name:
                found[worker.name] = process
    return found


def own_runners() -> list[kernel.Process]:
    """The runners that this very process has started; those of suites are below agents."""
    mine = {child.pid for child in psutil.Process().children()}
    below = kernel.tree(os.getpid())[1:]
    return [p for p in below if p.pid in mine and p.lives and "modelyard_worker.runner" in arguments(p)]
