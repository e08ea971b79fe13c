"""`python -m bench.train.turns`: an elastic job and bare DDP, ten steps each in turn, in the same two processes.

What else the machine does meets both, so that ratios are steadier than those of `bench.train.overhead`,
also where others use it: of the time of ten steps (of the slower rank), and of the CPU time of both ranks.
Aim: at least 0.95.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist

from bench.train.bare import Script
from bench.train.job import Size, load, printed
from bench.train.model import BATCH, SEED
from bench.train.rank import train
from modelyard.train.events import Listener, StepCommitted
from modelyard.train.options import TrainingOptions
from tests.servers import new_etcd

SIZE = Size(world=2, batch=BATCH, warm=20, steps=300)
TURN = 10


def now() -> tuple[float, float]:
    """Seconds, and CPU seconds of this process."""
    return time.perf_counter(), time.process_time()


class Turns(Listener):
    """After every tenth step of the job, the script does ten."""

    def __init__(self, warm: int) -> None:
        self._script = Script()
        self._warm = warm
        self._begun = now()
        self.rows: list[list[float]] = []
        for _ in range(TURN):
            self._script.step()

    def committed(self, step: StepCommitted) -> None:
        """Note what ten steps of each took: [seconds, CPU seconds, seconds, CPU seconds], the job's first."""
        done = step.position.step - self._warm
        if done < 0 or done % TURN:
            return
        marks = [self._begun, now()]
        dist.barrier()
        marks.append(now())
        for _ in range(TURN):
            self._script.step()
        marks.append(now())
        if done:
            spans = [(marks[i], marks[i + 1]) for i in (0, 2)]
            self.rows.append([end[k] - begin[k] for begin, end in spans for k in (0, 1)])
        dist.barrier()
        self._begun = now()


def rank(job: str, name: str, control: str, batch: int, warm: int, steps: int) -> None:
    """Be a rank."""
    torch.set_num_threads(1)
    meeting = Path(tempfile.gettempdir()) / job / "meeting"  # a job is named as its directory
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=int(name), world_size=SIZE.world)
    turns = Turns(warm)
    options = TrainingOptions(steps=warm + steps + 1, batch_size=batch, seed=SEED, keep_best=False)
    train(job, name, control, options, turns)
    print(json.dumps(turns.rows), flush=True)
    dist.destroy_process_group()


def told(name: str, ratios: list[float]) -> str:
    """Median and middle half."""
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{name}: median ratio {middle:.3f}, half of them within {low:.3f} to {high:.3f}"


async def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as directory:
        etcd = new_etcd(Path(directory))
        etcd.start()
        await etcd.wait_ready()
        job = Path(directory).name
        found = [
            json.loads(text.splitlines()[-1])
            for text in await printed(etcd.endpoint, Path(directory), job, __spec__.name, SIZE)
        ]
        etcd.close()
    pairs = list(zip(*found, strict=True))
    print(told("time", [max(a[2], b[2]) / max(a[0], b[0]) for a, b in pairs]))
    print(told("CPU time", [(a[3] + b[3]) / (a[1] + b[1]) for a, b in pairs]))
    print(f"{len(pairs)} turns of {TURN} steps each (aim 0.95); {load()}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        rank(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
    else:
        asyncio.run(main())
