"""What `bench.train.recovery` is compared with: torchrun's elastic restart, from SIGKILL of a rank to the next step.

Two agents on this machine, a rank each: the agents notice, end the other rank, meet anew and start both again, which go
on from a snapshot. Once as elastic as torchrun is (one or two nodes), and once with as many nodes as there are, for
which it has nobody to wait. It happens that the new ranks wait for each other for good: a kill without a step for two
minutes is told as infinite, and is the last.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from modelyard.local.ports import Port

WORLD = 2
RESTART_S = 120.0
LOOK_S = 0.02
SETTINGS = {
    "default": ["--nnodes=1:2"],
    "tuned": ["--nnodes=2", "--monitor-interval=0.05"],
}


@contextlib.contextmanager
def agents(directory: Path, settings: list[str]) -> Iterator[None]:
    """Run torchrun on two nodes, both of them here."""
    with contextlib.ExitStack() as stack:
        port = Port()
        stack.callback(port.release)
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=1"]
        command += ["--rdzv-backend=c10d", f"--rdzv-endpoint={port.address}", "--rdzv-id=bench", "--max-restarts=1000"]
        command += ["--local-addr=127.0.0.1", *settings, "-m", "bench.train.restarted", str(directory)]
        log = stack.enter_context((directory / "log").open("w"))
        running = [subprocess.Popen(command, stdout=log, stderr=log) for _ in range(WORLD)]
        try:
            yield
        finally:
            for agent in running:
                agent.send_signal(signal.SIGTERM)
            for agent in running:
                agent.wait()


def world(directory: Path, before: set[str]) -> dict[int, float]:
    """When each process of a whole world, of none that were there before, had done its first step; none: not yet."""
    found: dict[int, float] = {}
    size = WORLD
    for path in directory.glob("rank-*[0-9]"):
        if path.name not in before:
            stepped = json.loads(path.read_text())
            size, found[int(path.name.partition("-")[2])] = stepped["world"], stepped["at"]
    return found if len(found) >= size else {}


def stepping(directory: Path, before: set[str]) -> dict[int, float]:
    """Wait for such a world; none: it does not come."""
    ends_s = time.monotonic() + RESTART_S
    while not (found := world(directory, before)) and time.monotonic() < ends_s:
        time.sleep(LOOK_S)
    return found


def restarts(directory: Path, settings: str, kills: int) -> list[float]:
    """The seconds from each kill to the next step."""
    directory = directory / settings
    directory.mkdir()
    found: list[float] = []
    with agents(directory, SETTINGS[settings]):
        ranks = stepping(directory, set())
        if not ranks:
            return [math.inf]
        for turn in range(kills):
            before = {path.name for path in directory.iterdir()}
            killed_s = time.monotonic()
            os.kill(random.choice(list(ranks)), signal.SIGKILL)
            ranks = stepping(directory, before)
            found.append(max(ranks.values(), default=math.inf) - killed_s)
            print(f"torchrun, {settings}: kill {turn}: {found[-1]:.1f} s", flush=True)
            if not ranks:
                break
    return found
