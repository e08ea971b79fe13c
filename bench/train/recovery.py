"""`python -m bench.train.recovery`: from SIGKILL of one of three ranks to the survivors' next committed step.

A step is committed when the reduction of the next one is through. After each kill a new rank joins. Aim: under 1 s.
Then the same model under torchrun, which starts all ranks again (bench.train.restarts).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.train.job import load
from bench.train.restarts import SETTINGS, restarts
from tests.integration.train.elastic.gang import START_S, Gang, Nursery
from tests.servers import new_etcd
from tests.waiting import eventually

KILLS = 20
WORLD = 3
TAIL_BYTES = 1 << 18


def first(gang: Gang, name: str, key: str, after: int) -> float | None:
    """When a rank first wrote of such an event in a formation after that one, as far as the end of its log says."""
    path = gang.directory / f"{name}.log"
    if not path.exists():
        return None
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - TAIL_BYTES))
        events = [json.loads(line) for line in log.read().split(b"\n")[1:-1]]
    return next((event["at"] for event in events if key in event and event["formation"] > after), None)


async def formed(gang: Gang, names: list[str], after: int) -> int:
    """Wait until all train in a formation after that one; return its number."""
    for name in names:
        await eventually(partial(first, gang, name, "committed", after), START_S)
    return max(int(event["formed"]) for event in gang.found(names[0], "formed"))


async def kills(gang: Gang) -> list[float]:
    """The seconds of each recovery."""
    names = [f"m{number}" for number in range(WORLD)]
    for name in names:
        gang.start(name, epochs=1_000_000)
    formation, found = await formed(gang, names, 0), []
    for turn in range(KILLS):
        victim = names.pop(random.randrange(WORLD))
        killed_s = time.monotonic()
        gang.signal(victim, signal.SIGKILL)
        for name in names:
            await eventually(partial(first, gang, name, "committed", formation), START_S)
        found.append(max(first(gang, name, "committed", formation) or 0.0 for name in names) - killed_s)
        print(f"kill {turn}: {found[-1] * 1e3:.0f} ms", flush=True)
        names.append(f"m{WORLD + turn}")
        gang.start(names[-1], epochs=1_000_000)
        formation = await formed(gang, names[-1:], 0)
    return found


def table(found: dict[str, list[float]]) -> None:
    """Print medians and the longest."""
    for name, seconds in found.items():
        print(f"{name:18} {len(seconds):3} kills: p50 {statistics.median(seconds):7.3f} s, max {max(seconds):7.3f} s")
    print(f"aim: max < 1 s; {load()}")


async def main(restarted: int) -> None:
    """Print each recovery, and a table; under torchrun there are so many kills with each of its settings."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        etcd = new_etcd(directory)
        etcd.start()
        await etcd.wait_ready()
        nursery = Nursery(directory / "errors.log")
        nursery.wait_ready()
        gang = Gang(nursery, directory, etcd.endpoint, min_workers=WORLD - 1, max_workers=WORLD)
        await gang.start_control()
        found = await kills(gang)
        await gang.close()
        nursery.close()
        etcd.close()
        peers = {
            f"torchrun, {name}": await asyncio.to_thread(restarts, directory, name, restarted) for name in SETTINGS
        }
    table({"elastic": found, **peers})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--restarts", type=int, default=5, help="kills under torchrun, of each kind: half a minute each"
    )
    asyncio.run(main(parser.parse_args().restarts))
