"""`python -m bench.train.scaling`: steps a second of a job with two ranks against one, of the same global batch.

Each rank has one thread, and a step of one rank lasts over 50 ms. 1.0 would be twice as fast. Aim: at least 0.9, where
a core is free for each: so it is told how busy the machine was.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.train.job import Size, load, steps_per_s
from tests.servers import new_etcd

ROUNDS = 3
BATCH, WARM, STEPS = 2048, 4, 40


async def main() -> None:
    """Print the rounds and the median of their ratios."""
    with tempfile.TemporaryDirectory() as directory:
        etcd = new_etcd(Path(directory))
        etcd.start()
        await etcd.wait_ready()
        ratios = []
        for turn in range(ROUNDS):
            one, two = [
                await steps_per_s(
                    etcd.endpoint, Path(directory), f"job-{turn}-{world}", Size(world, BATCH, WARM, STEPS)
                )
                for world in (1, 2)
            ]
            ratios.append(two / one / 2)
            print(
                f"round {turn}: one rank {1e3 / one:.0f} ms a step, two {1e3 / two:.0f} ms, of ideal {ratios[-1]:.3f}"
            )
        etcd.close()
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    print(f"median {statistics.median(ratios):.3f} of ideal, {spread}, of {ROUNDS} rounds (aim 0.9); {load()}")


if __name__ == "__main__":
    asyncio.run(main())
