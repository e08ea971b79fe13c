"""`python -m bench.train.recovery`: from SIGKILL of one of three ranks to the survivors' next committed step.

A step is committed when the reduction of the next one is through. After each kill a new rank joins. Aim: under 1 s.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

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


async def main() -> None:
    """Print each recovery, their median and the longest."""
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
    print(f"{KILLS} kills: p50 {statistics.median(found) * 1e3:.0f} ms, max {max(found) * 1e3:.0f} ms (aim: < 1000 ms)")


if __name__ == "__main__":
    asyncio.run(main())
