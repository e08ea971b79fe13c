"""The queue alone, on a Redis of its own: tasks/s, latency on an idle queue, and what growth costs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.processes import clean_up_on_termination, machine
from modelyard.local.health import redis_answers
from modelyard.local.ports import Port
from modelyard.local.programs import redis_command
from modelyard.process import PARENT
from modelyard.queue import Caps, Claim, Job, RedisQueue, Task
from modelyard.redis import Redis

MODEL = "digits@1"
BATCH = 500
TENANTS = 4
CAPS = Caps(10**8, 10**8, 10**8)


class Server:
    """A Redis in a directory that goes with it."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.address = address
        self._process = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start it with the queue's settings (appendfsync always), end it."""
    port = Port()
    with tempfile.TemporaryDirectory() as directory:
        command, environ = redis_command(Path(directory), port.number), {**os.environ, PARENT: str(os.getpid())}
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        try:
            asyncio.run(asyncio.wait_for(redis_answers(port.address), 30))
            yield Server(process, port.address)
        finally:
            process.kill()
            process.wait()
            port.release()


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[RedisQueue]:
    """A queue."""
    redis = Redis(address)
    yield RedisQueue(redis)
    await redis.close()


async def fill(queue: RedisQueue, job: str, tasks: int, tenants: int = 1) -> None:
    """Queue no-op tasks for some tenants."""
    for tenant in range(tenants):
        name = f"{job}-{tenant}"
        await queue.open(Job(name, MODEL, f"tenant-{tenant}"))
        for start in range(0, tasks // tenants, BATCH):
            numbers = range(start, min(start + BATCH, tasks // tenants))
            await queue.enqueue(name, [Task(str(number), b"{}") for number in numbers], CAPS)


async def empty(queue: RedisQueue, job: str, tenants: int = 1) -> None:
    """Delete what `fill` has made."""
    for tenant in range(tenants):
        await queue.delete(f"{job}-{tenant}")


async def rates(server: Server, tasks: int) -> dict[str, Any]:
    """Tasks/s of one caller: each step waits for its answer, and so for the disk."""
    async with connected(server.address) as queue:
        marks = [time.perf_counter()]
        await fill(queue, "rate", tasks)
        marks.append(time.perf_counter())
        claims = [await queue.fetch("w", [MODEL]) for _ in range(tasks)]
        marks.append(time.perf_counter())
        for claim in claims:
            assert isinstance(claim, Claim)
            assert await queue.finish(claim, b"ref")
        marks.append(time.perf_counter())
        await empty(queue, "rate")
    spans = [end - start for start, end in itertools.pairwise(marks)]
    names = ("enqueue", "fetch", "finish")
    return {f"{name}_tasks_per_s": round(tasks / span) for name, span in zip(names, spans, strict=True)}


async def latency(server: Server, tasks: int) -> dict[str, Any]:
    """From before enqueueing until the replica that waits is told, one task at a time, by one worker that waits."""

    async def work(queue: RedisQueue) -> None:
        while True:
            claim = await queue.fetch("w", [MODEL])
            if isinstance(claim, Claim):
                await queue.finish(claim, b"ref")
            else:
                await queue.wait([MODEL], 5)

    times_ms = []
    async with connected(server.address) as queue, connected(server.address) as other:
        worker = asyncio.create_task(work(other))
        await queue.open(Job("idle", MODEL, "t"))
        for number in range(tasks):
            start = time.perf_counter()
            await queue.enqueue("idle", [Task(str(number), reply="r")], CAPS)
            while not await queue.replies("r", 5):
                pass
            times_ms.append((time.perf_counter() - start) * 1e3)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await queue.delete("idle")
    return {
        "p50_ms": round(statistics.median(times_ms), 3),
        "p99_ms": round(statistics.quantiles(times_ms, n=100)[98], 3),
    }


def fetch_and_finish(address: str, worker: str, tasks: int) -> None:
    """One fetcher, in a process of its own."""

    async def work() -> None:
        async with connected(address) as queue:
            for _ in range(tasks):
                claim = await queue.fetch(worker, [MODEL])
                assert isinstance(claim, Claim)
                assert await queue.finish(claim, b"ref")

    asyncio.run(work())


async def commands(redis: Redis) -> dict[str, int]:
    """Calls so far, from outside and by scripts."""
    found = await redis.command("INFO", "commandstats")
    calls = {name: facts["calls"] for name, facts in found.items()}
    sent = sum(calls.get(f"cmdstat_{name}", 0) for name in ("evalsha", "eval"))
    return {"sent": sent, "all": sum(calls.values()) - sent}


def fetch_in_processes(address: str, fetchers: int, each: int) -> None:
    """Fetch and finish so many tasks in each of so many processes."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fetch_and_finish, args=(address, f"w{n}", each)) for n in range(fetchers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


async def cost(server: Server, redis: Redis, fetchers: int, each: int) -> dict[str, Any]:
    """What a no-op task costs with so many fetchers."""
    before, cpu, start = await commands(redis), server.cpu_s(), time.perf_counter()
    await asyncio.to_thread(fetch_in_processes, server.address, fetchers, each)
    cpu_s, wall_s, after = server.cpu_s() - cpu, time.perf_counter() - start, await commands(redis)
    total = each * fetchers
    return {
        "fetchers": fetchers,
        "tasks": total,
        "scripts_per_task": round((after["sent"] - before["sent"]) / total, 2),
        "commands_per_task": round((after["all"] - before["all"]) / total, 1),
        "redis_cpu_us_per_task": round(cpu_s / total * 1e6),
        "tasks_per_s_with_start": round(total / wall_s),
    }


async def growth(server: Server, queued: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same with so many queued: of a queue of less than twice as many tasks, half is taken."""
    rows = []
    async with connected(server.address) as queue:
        await fill(queue, "growth", queued, TENANTS)
        for fetchers in options.fetchers:
            each = min(options.tasks, queued // 2) // fetchers
            rows.append({"queued": queued} | await cost(server, queue.redis, fetchers, each))
            print(rows[-1], file=sys.stderr)
            await fill(queue, f"more-{fetchers}", each * fetchers, TENANTS)
        for name in ("growth", *(f"more-{fetchers}" for fetchers in options.fetchers)):
            await empty(queue, name, TENANTS)
    return rows


async def measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    rows = [row for queued in options.queued for row in await growth(server, queued, options)]
    return {
        "machine": machine(),
        "rates": await rates(server, options.tasks),
        "idle": await latency(server, options.tasks // 2),
        "growth": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--fetchers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--queued", type=int, nargs="+", default=[10**2, 10**3, 10**4, 10**5])
    clean_up_on_termination()
    options = parser.parse_args()
    with running() as server:
        print(json.dumps(asyncio.run(measure(server, options)), indent=1))


if __name__ == "__main__":
    main()
