"""The queue alone, on a Redis of its own: tasks/s, latency on an idle queue, and what growth costs.

Growth: some workers fetch and finish no-op tasks, and queue a new one for each, so that the queue stays as long as it
is. What a task costs then must not depend on how long that is, nor on how many workers there are. Each length has a
Redis of its own, and they are measured in turns: other work on the machine makes the same task cost twice as much.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.lane.stores import redis_work
from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination
from modelyard.local.health import redis_answers
from modelyard.local.ports import Port
from modelyard.local.programs import redis_command
from modelyard.process import PARENT
from modelyard.queue import Caps, Claim, Job, RedisQueue, Task
from modelyard.redis import Redis

MODEL = "digits@1"
BATCH = 1000
TENANTS = 4
CAPS = Caps(10**8, 10**8, 10**8)
COMMANDS_MOST, CPU_MOST = 1.2, 2.0
"""What a task may cost at most, to what it costs one worker on the shortest queue. CPU time is that of a
machine with other work, and of a memory that no cache holds: twice is little for a queue 10,000 times as long."""


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Start a Redis with the queue's settings (appendfsync always) in a directory of its own; yield its address."""
    port = Port()
    with tempfile.TemporaryDirectory() as directory:
        command, environ = redis_command(Path(directory), port.number), {**os.environ, PARENT: str(os.getpid())}
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        try:
            asyncio.run(asyncio.wait_for(redis_answers(port.address), 30))
            yield port.address
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


async def rates(address: str, tasks: int) -> dict[str, Any]:
    """Tasks/s of one caller: each step waits for its answer, and so for the disk; enqueueing is a batch at a time."""
    async with connected(address) as queue:
        marks = [time.perf_counter()]
        await fill(queue, "rate", tasks)
        marks.append(time.perf_counter())
        claims = [await queue.fetch("w", [MODEL]) for _ in range(tasks)]
        marks.append(time.perf_counter())
        for claim in claims:
            await _finish(queue, claim)
        marks.append(time.perf_counter())
        await queue.delete("rate-0")
    spans = [end - start for start, end in itertools.pairwise(marks)]
    names = ("enqueue", "fetch", "finish")
    return {f"{name}_tasks_per_s": round(tasks / span) for name, span in zip(names, spans, strict=True)}


async def _finish(queue: RedisQueue, claim: object) -> None:
    if not isinstance(claim, Claim) or not await queue.finish(claim, b"ref"):
        raise RuntimeError(f"expected a task to be fetched and finished, got {claim}")


async def latency(address: str, tasks: int) -> dict[str, Any]:
    """From before enqueueing until the replica that waits is told, one task at a time, by one worker that waits."""

    async def work(queue: RedisQueue) -> None:
        while True:
            claim = await queue.fetch("w", [MODEL])
            if isinstance(claim, Claim):
                await _finish(queue, claim)
            else:
                await queue.wait([MODEL], 5)

    times_ms = []
    async with connected(address) as queue, connected(address) as other:
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


def fetcher(address: str, name: str, turn: Connection) -> None:
    """One worker, a process: whenever it is told how many, it executes no-op tasks and says what CPU time it took."""

    async def work(tasks: int, first: int) -> None:
        async with connected(address) as queue:
            for number in range(first, first + tasks):
                claim = await queue.fetch(name, [MODEL])
                await _finish(queue, claim)
                job = claim.job if isinstance(claim, Claim) else ""
                await queue.enqueue(job, [Task(f"{name}-{number}", b"{}")], CAPS)

    first = 0
    while tasks := turn.recv():
        began_s = time.process_time()
        asyncio.run(work(tasks, first))
        first += tasks
        turn.send(time.process_time() - began_s)


@contextlib.contextmanager
def fetchers(address: str, count: int, prefix: str) -> Iterator[list[Connection]]:
    """Start some, each having executed a task; end them."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=fetcher, args=(address, f"{prefix}-{number}", theirs), daemon=True)
        for number, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    ours = [pipe for pipe, _ in pipes]
    execute(ours, 1)
    yield ours
    for pipe, process in zip(ours, processes, strict=True):
        pipe.send(0)
        process.join()


def execute(turns: Sequence[Connection], tasks: int) -> float:
    """Have so many tasks executed by each; return the CPU seconds that they took."""
    for turn in turns:
        turn.send(tasks)
    return sum(float(turn.recv()) for turn in turns)


async def cost(redis: Redis, turns: Sequence[Connection], tasks: int) -> dict[str, Any]:
    """What a no-op task costs with so many workers: a fetch, a finish and an enqueue."""
    each = max(1, tasks // len(turns))
    before, began_s = await redis_work(redis), time.perf_counter()
    worker_s = await asyncio.to_thread(execute, turns, each)
    wall_s, after = time.perf_counter() - began_s, await redis_work(redis)
    total = each * len(turns)
    spent = {name: (after[name] - before[name]) / total for name in before}
    return {
        "workers": len(turns),
        "tasks": total,
        "scripts": round(spent["scripts"], 2),
        "commands": round(spent["commands"], 1),
        "redis_us": round(spent["cpu_s"] * 1e6),
        "worker_us": round(worker_s / total * 1e6),
        "tasks_per_s": round(total / wall_s),
    }


async def growth(addresses: Mapping[int, str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The same with so many queued: of each number of workers the round with the least CPU time of Redis."""
    rows = []
    async with contextlib.AsyncExitStack() as stack:
        queues = {queued: await stack.enter_async_context(connected(at)) for queued, at in addresses.items()}
        for queued, queue in queues.items():
            await fill(queue, "growth", queued, TENANTS)
        for count in options.fetchers:
            found: dict[int, list[dict[str, Any]]] = {queued: [] for queued in queues}
            with contextlib.ExitStack() as workers:
                turns = {n: workers.enter_context(fetchers(at, count, f"w{count}")) for n, at in addresses.items()}
                for queued in [*queues] * options.rounds:
                    found[queued].append(await cost(queues[queued].redis, turns[queued], options.tasks))
            for queued, rounds in found.items():
                rows.append({"queued": queued} | min(rounds, key=lambda one: float(one["redis_us"])))
    return sorted(rows, key=lambda row: (row["queued"], row["workers"]))


def bounds(rows: Sequence[dict[str, Any]]) -> list[Bound]:
    """Flat: everywhere as at the first."""
    first = rows[0]
    names = (("commands", COMMANDS_MOST), ("scripts", COMMANDS_MOST), ("redis_us", CPU_MOST))
    return [
        Bound(
            f"{name} a task, the most to that of the first line", max(row[name] for row in rows) / first[name], most=m
        )
        for name, m in names
    ]


async def measure(address: str, lengths: Mapping[int, str], options: argparse.Namespace) -> dict[str, Any]:
    """All of it; `lengths`: where queues grow to be so long."""
    found = {"rates": await rates(address, options.tasks), "idle": await latency(address, options.tasks // 2)}
    return found | {"growth": await growth(lengths, options)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fetchers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--queued", type=int, nargs="+", default=[10**2, 10**4, 10**6])
    clean_up_on_termination()
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        address, *others = [stack.enter_context(running()) for _ in (0, *options.queued)]
        found = asyncio.run(measure(address, dict(zip(options.queued, others, strict=True)), options))
    table([found["rates"] | found["idle"]])
    table(found["growth"])
    conclude(found, bounds(found["growth"]))


if __name__ == "__main__":
    main()
