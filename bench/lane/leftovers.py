"""What 1,000 small jobs leave in Redis and etcd: while they are kept, and once they are forgotten.

Most succeed, some are cancelled, some end with dead letters. When all have ended their time of seven days is cut short:
their records are written once more, as they are, to be kept for no time. From then on everything is the leader's: it
forgets them as it always does.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.lane.stores import etcd_keys, etcd_of, redis_keys, redis_of
from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination
from bench.suite import running
from modelyard.aio import Client
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd
from modelyard.local.commands import Status
from modelyard.queue import RedisQueue, Written
from modelyard.redis import Redis
from modelyard.sdk.jobs.options import JobOptions
from tests import models

TENANTS = 4
AT_ONCE = 16
LOOK_S = 0.5
ONCE_S = 1.0
IDLE = ("bell", "rota", "fetched", "reply", "sweep")
"""Kinds of keys that do not grow with jobs: one a model or worker at most, all but the bells with an end."""


class Stage:
    """A suite, its stores and clients of some tenants."""

    def __init__(self, redis: Redis, etcd: Etcd, clients: Sequence[Client]) -> None:
        self.redis, self.etcd, self.clients = redis, etcd, clients
        self.queue = RedisQueue(redis)

    async def counted(self, when: str) -> dict[str, Any]:
        """All keys now."""
        in_redis, in_etcd = await redis_keys(self.redis), await etcd_keys(self.etcd)
        return {"when": when, "redis": in_redis.total(), "etcd": in_etcd.total(), "by": [dict(in_redis), dict(in_etcd)]}

    async def submit(self, number: int) -> str:
        """Submit a job of two rows; of ten one is cancelled at once, and one has a row that the model fails on."""
        client = self.clients[number % TENANTS]
        index = [1, 99] if number % 10 == 1 else [1, 2]
        options = JobOptions(max_attempts=1)
        job = await client.jobs.submit("lookup", {"i": np.array(index, np.int64)}, options)
        if number % 10 == 2:
            with suppress(PreconditionError):  # it may have been quicker
                await client.jobs.cancel(job)
        return job.id

    async def expire(self, job: str) -> None:
        """Have a job's time be over."""
        found = await self.queue.record(job)
        phase = (await self.redis.command("HGET", self.queue.key("job", job), "phase")).decode()
        await self.queue.change(job, Written(found.record, phase, None, 0.0), found.revision, found.epoch)


async def each(count: int, work: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """Do something for each number, some at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Any:
        async with room:
            return await work(number)

    return await asyncio.gather(*map(one, range(count)))


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> float:
    """Wait for a condition; return the seconds that it took. RuntimeError: it took longer than that."""
    began_s = time.perf_counter()
    while not await condition():
        if time.perf_counter() - began_s > timeout_s:
            raise RuntimeError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(LOOK_S)
    return time.perf_counter() - began_s


async def measure(suite: Status, options: argparse.Namespace, scratch: Path) -> tuple[dict[str, Any], list[Bound]]:
    """All of it."""
    async with AsyncExitStack() as stack:
        redis, etcd = redis_of(suite), etcd_of(suite)
        stack.push_async_callback(redis.close)
        stack.push_async_callback(etcd.close)
        tenants = [Client(suite.address, tenant=f"tenant-{number}") for number in range(TENANTS)]
        stage = Stage(redis, etcd, [await stack.enter_async_context(client) for client in tenants])
        await tenants[0].push("lookup", models.save(models.lookup(), scratch / "lookup.onnx"))
        counts = [await stage.counted("before")]
        began_s = time.perf_counter()
        jobs = await each(options.jobs, stage.submit)
        submitted_s = time.perf_counter() - began_s

        async def settled() -> bool:
            return not await stage.queue.active()

        await until(settled, options.timeout_s, "all jobs have ended")
        ended_s = time.perf_counter() - began_s
        counts.append(await stage.counted("ended"))
        states = Counter(job.state.value for job in await tenants[0].jobs.list(limit=0))
        await each(len(jobs), lambda number: stage.expire(jobs[number]))

        async def forgotten() -> bool:
            return not await stage.queue.listed() and not (await etcd_keys(etcd))["jobs"]

        forgotten_s = await until(forgotten, options.timeout_s, "all jobs are forgotten")
        await asyncio.sleep(ONCE_S)
        counts.append(await stage.counted("forgotten"))
    table([{key: one[key] for key in ("when", "redis", "etcd")} for one in counts])
    figures = {
        "jobs": options.jobs,
        "states": dict(states),
        "submitted_per_s": round(options.jobs / submitted_s, 1),
        "ended_per_s": round(options.jobs / ended_s, 1),
        "forgotten_s": round(forgotten_s, 1),
        "keys": counts,
    }
    return figures, bounds(counts, options.jobs)


def bounds(counts: Sequence[dict[str, Any]], jobs: int) -> list[Bound]:
    """Nothing of a job is left in either store, and not much while it is kept."""
    _, ended, last = counts
    in_redis, in_etcd = last["by"]
    left = {kind: count for kind, count in in_redis.items() if kind not in IDLE}
    held = {kind: count for kind, count in in_etcd.items() if kind in {"jobs", "holds/jobs", "holds/upload"}}
    return [
        Bound("keys of forgotten jobs in Redis", sum(left.values()), most=0),
        Bound("keys of forgotten jobs in etcd", sum(held.values()), most=0),
        Bound("keys a kept job in Redis", ended["redis"] / jobs, most=3),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--timeout-s", type=float, default=300.0)
    options = parser.parse_args()
    clean_up_on_termination()
    with tempfile.TemporaryDirectory() as scratch, running(workers=2) as suite:
        figures, promised = asyncio.run(measure(suite, options, Path(scratch)))
    conclude(figures, promised)


if __name__ == "__main__":
    main()
