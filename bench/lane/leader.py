"""What the leader costs with many jobs, how quickly jobs are accepted and watched then, and who is refused.

First 1,000 jobs of one tenant that wait: what executes them takes ten seconds a row. That is as many as a tenant may
have, so its next one is refused, with a delay, and another tenant's is not. Then 100 jobs that run, on two workers.

One job is submitted and planned as always; the others are written into Redis as copies of it, RUNNING and with its
plan. The leader takes them over as it does after a predecessor. Planning is a process a job, and would be all there is
to see.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.lane import delays
from bench.lane.stores import redis_of, redis_work
from bench.lane.verdicts import Bound, conclude, table
from bench.processes import clean_up_on_termination, cpu_by_program
from bench.suite import running
from modelyard import Client as BlockingClient
from modelyard.aio import Client
from modelyard.errors import ExhaustedError
from modelyard.jobs.job import Job
from modelyard.jobs.states import JobState
from modelyard.local.commands import Status
from modelyard.queue import Caps, RedisQueue
from modelyard.redis import Redis
from modelyard_scheduler.jobs.records import Records
from tests.waiting import eventually

CALLS = 10
AT_ONCE = 32
MANY, FEW = "many", "few"
SETTLED_S = 6.0
"""Longer than QUIET_S of the leader: each job was looked at once."""
CORES_MOST = {"wait": 0.5, "run": 1.0}
CALL_MS_MOST = 500.0


@dataclass(frozen=True)
class Case:
    """So many jobs of so many rows, with a delay a row, on so many workers."""

    name: str
    jobs: int
    rows: int
    ms_per_row: float
    workers: int


MOST_ROOM = 5
"""A case with so few jobs less than a tenant may have shows what is beyond."""


@dataclass(frozen=True)
class Stage:
    """A suite with clients of two tenants: MANY has the jobs, FEW next to nothing."""

    suite: Status
    redis: Redis
    many: Client
    few: Client


@asynccontextmanager
async def opened(suite: Status) -> AsyncIterator[Stage]:
    """Open what looks at a suite."""
    async with AsyncExitStack() as stack:
        redis = redis_of(suite)
        stack.push_async_callback(redis.close)
        clients = [await stack.enter_async_context(Client(suite.address, tenant=name)) for name in (MANY, FEW)]
        yield Stage(suite, redis, *clients)


def row(value: float = 0.0, rows: int = 1) -> dict[str, Any]:
    """Inputs of the model."""
    return {"x": np.full((rows, delays.WIDTH), value, np.float32)}


async def begun(client: Client, job: Job) -> None:
    """Return when a job is RUNNING."""

    async def is_running() -> bool:
        return (await client.jobs.get(job)).state is JobState.RUNNING

    await eventually(is_running)


async def copied(stage: Stage, job: Job, count: int) -> None:
    """Write so many jobs like it."""
    records = Records(RedisQueue(stage.redis), Caps())
    held = await records.read(job.id)
    room = asyncio.Semaphore(AT_ONCE)

    async def write(number: int) -> None:
        async with room:
            copy = replace(held.job, id=f"{job.id}-{number}")
            await records.write(await records.submit(replace(copy, state=JobState.QUEUED)), copy, held.plan)

    await asyncio.gather(*map(write, range(count)))


async def spent(stage: Stage, seconds: float) -> dict[str, float]:
    """What is spent a second while nobody calls."""
    before, cpu, began_s = await redis_work(stage.redis), cpu_by_program([stage.suite.pid]), time.perf_counter()
    await asyncio.sleep(seconds)
    after, now = await redis_work(stage.redis), cpu_by_program([stage.suite.pid])
    took_s = time.perf_counter() - began_s
    return {
        "controller_cores": round((now["modelyard_scheduler"] - cpu["modelyard_scheduler"]) / took_s, 3),
        "redis_cores": round((after["cpu_s"] - before["cpu_s"]) / took_s, 3),
        "redis_commands_per_s": round((after["commands"] - before["commands"]) / took_s),
    }


async def calls_ms(client: Client, model: str) -> dict[str, float]:
    """How long SubmitJob takes, and WatchJob to its first event."""
    submits, watches = [], []
    for number in range(CALLS):
        began_s = time.perf_counter()
        job = await client.jobs.submit(model, row(number))
        submits.append((time.perf_counter() - began_s) * 1e3)
        began_s = time.perf_counter()
        async with aclosing(client.jobs.watch(job)) as events:
            await anext(events)
        watches.append((time.perf_counter() - began_s) * 1e3)
        await client.jobs.cancel(job)
    found = {"submit": submits, "watch": watches}
    medians = {f"{name}_p50_ms": round(statistics.median(times), 1) for name, times in found.items()}
    return medians | {f"{name}_max_ms": round(max(times), 1) for name, times in found.items()}


async def refusal(stage: Stage, model: str, room: int) -> dict[str, Any]:
    """What a tenant hears that has as many jobs as it may, once `room` more were accepted."""
    try:
        for _ in range(room + 1):
            await stage.many.jobs.submit(model, row())
    except ExhaustedError as error:
        return {"refused": error.message, "retry_after_s": error.retry_after_s}
    return {"refused": "", "retry_after_s": None}


async def measure(case: Case, suite: Status, seconds: float) -> dict[str, Any]:
    """One case; what it is with no job at all is measured before."""
    async with opened(suite) as stage:
        idle = await spent(stage, seconds / 2)
        job = await stage.many.jobs.submit(case.name, row(rows=case.rows))
        await begun(stage.many, job)
        await copied(stage, job, case.jobs - 1)
        await asyncio.sleep(SETTLED_S)
        found = await spent(stage, seconds)
        active = len(await RedisQueue(stage.redis).active())
        room = Caps().jobs - active
        told = await refusal(stage, case.name, room) if room <= MOST_ROOM else {}
        latencies = await calls_ms(stage.few, case.name)
    facts = {"case": case.name, "jobs": case.jobs, "active": active}
    return facts | found | latencies | {"idle": idle, "refusal": told}


def measured(case: Case, seconds: float) -> dict[str, Any]:
    """One case on a suite of its own."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(workers=case.workers, delays=True) as suite,
        BlockingClient(suite.address) as client,
    ):
        delays.push(client, case.name, Path(scratch), case.ms_per_row)
        client.deploy(case.name, replicas=case.workers)
        return asyncio.run(measure(case, suite, seconds))


def bounds(found: list[dict[str, Any]]) -> list[Bound]:
    """Of all cases."""
    waiting = found[0]["refusal"]
    made = [
        Bound("the job beyond the cap is refused with a delay, seconds", waiting["retry_after_s"] or 0.0, least=0.1)
    ]
    for one in found:
        made.append(
            Bound(f"{one['case']}: cores of the controller", one["controller_cores"], most=CORES_MOST[one["case"]])
        )
        made += [
            Bound(f"{one['case']}: {call}, ms", one[f"{call}_p50_ms"], most=CALL_MS_MOST)
            for call in ("submit", "watch")
        ]
        made.append(Bound(f"{one['case']}: jobs that were active to the end", one["active"], least=one["jobs"] * 0.9))
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=Caps().jobs)
    parser.add_argument("--running", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    clean_up_on_termination()
    cases = [Case("wait", options.waiting, 1, 10_000.0, 1), Case("run", options.running, 4000, 1.0, 2)]
    found = [measured(case, options.seconds) for case in cases]
    table([{key: value for key, value in one.items() if key not in {"idle", "refusal"}} for one in found])
    table([{"beside no job": one["case"]} | one["idle"] for one in found])
    conclude({"cases": found}, bounds(found))


if __name__ == "__main__":
    main()
