"""`python -m bench.train.overhead`: steps a second of an elastic job against a bare torchrun script of the same model.

Two ranks on one machine, a thread each; rounds of both in turn. Aim: at least 0.95 of the bare script. On a machine
that others use rounds differ by half: `bench.train.turns` compares the same two within the same processes.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.train.job import Size, load, seconds, steps_per_s
from bench.train.model import BATCH
from tests.servers import new_etcd

ROUNDS = 5
SIZE = Size(world=2, batch=BATCH, warm=20, steps=150)


def bare() -> float:
    """Steps a second of the script."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={SIZE.world}"]
    command = [*torchrun, "-m", "bench.train.bare", str(SIZE.warm), str(SIZE.steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return SIZE.steps / seconds(done.stdout)


async def main() -> None:
    """Print the rounds and the median of their ratios."""
    with tempfile.TemporaryDirectory() as directory:
        etcd = new_etcd(Path(directory))
        etcd.start()
        await etcd.wait_ready()
        ratios = []
        for turn in range(ROUNDS):
            ours = await steps_per_s(etcd.endpoint, Path(directory), f"job-{turn}", SIZE)
            theirs = await asyncio.to_thread(bare)
            ratios.append(ours / theirs)
            print(f"round {turn}: elastic {ours:.1f} steps/s, bare {theirs:.1f} steps/s, ratio {ratios[-1]:.3f}")
        etcd.close()
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"median ratio {statistics.median(ratios):.3f}, {spread}, of {ROUNDS} rounds (aim 0.95); {load()}")


if __name__ == "__main__":
    asyncio.run(main())
