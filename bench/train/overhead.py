"""`python -m bench.train.overhead`: steps a second of an elastic job against a bare torchrun script of the same model.

Two ranks on one machine, a thread each; rounds of both in turn. Aim: at least 0.95 of the bare script.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.train.elastic.gang import Control
from tests.servers import new_etcd

ROUNDS = 5
WARM = 20
STEPS = 150
WORLD = 2


def seconds(output: str) -> float:
    """What a program has printed."""
    found = re.search(r"^seconds (\S+)$", output, re.MULTILINE)
    assert found, output
    return float(found[1])


def bare() -> float:
    """Steps a second of the script."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={WORLD}"]
    command = [*torchrun, "-m", "bench.train.bare", str(WARM), str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return STEPS / seconds(done.stdout)


def rank(job: str, name: str, control: str) -> float:
    """Run a rank; return the seconds that its steps took."""
    command = [sys.executable, "-m", "bench.train.rank", job, name, control, str(WARM), str(STEPS)]
    return seconds(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


async def elastic(etcd: str, directory: Path, turn: int) -> float:
    """Steps a second of a job."""
    control = Control(directory, etcd, job=f"job-{turn}", min_workers=WORLD, max_workers=WORLD)
    address = await control.start(f"control-{turn}")
    ranks = [asyncio.to_thread(rank, f"job-{turn}", name, address) for name in "ab"]
    taken = await asyncio.gather(*ranks)
    await control.kill()
    return STEPS / max(taken)


async def main() -> None:
    """Print the rounds and the median of their ratios."""
    with tempfile.TemporaryDirectory() as directory:
        etcd = new_etcd(Path(directory))
        etcd.start()
        await etcd.wait_ready()
        ratios = []
        for turn in range(ROUNDS):
            ours, theirs = await elastic(etcd.endpoint, Path(directory), turn), await asyncio.to_thread(bare)
            ratios.append(ours / theirs)
            print(f"round {turn}: elastic {ours:.1f} steps/s, bare {theirs:.1f} steps/s, ratio {ratios[-1]:.3f}")
        etcd.close()
    print(f"median ratio {statistics.median(ratios):.3f} of {ROUNDS} rounds (aim 0.95)")


if __name__ == "__main__":
    asyncio.run(main())
