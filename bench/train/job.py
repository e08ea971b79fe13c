"""Jobs of the benchmarks: a control process and ranks on this machine, a thread each."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.integration.train.elastic.gang import Control


@dataclass(frozen=True)
class Size:
    """Of a job.

    Attributes:
        world: ranks.
        batch: samples of a step, over all ranks.
        warm: steps that are not timed.
        steps: that are.
    """

    world: int
    batch: int
    warm: int
    steps: int


async def printed(etcd: str, directory: Path, job: str, module: str, size: Size) -> list[str]:
    """Run a job whose ranks are `python -m MODULE JOB NAME CONTROL BATCH WARM STEPS`; return what each has printed."""
    control = Control(directory, etcd, job=job, min_workers=size.world, max_workers=size.world)
    address = await control.start(job)
    command = [sys.executable, "-m", module, job]
    rest = [address, *map(str, (size.batch, size.warm, size.steps))]
    ranks = [asyncio.to_thread(_output, [*command, str(number), *rest]) for number in range(size.world)]
    found = await asyncio.gather(*ranks)
    await control.kill()
    return found


async def steps_per_s(etcd: str, directory: Path, job: str, size: Size) -> float:
    """Steps a second of a job."""
    return size.steps / max(map(seconds, await printed(etcd, directory, job, "bench.train.rank", size)))


def seconds(output: str) -> float:
    """What a program says that its steps took."""
    found = re.search(r"^seconds (\S+)$", output, re.MULTILINE)
    assert found, output
    return float(found[1])


def _output(command: list[str]) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def load() -> str:
    """How busy the machine is with other things."""
    return f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
