"""Whether a process of the suite does its work, found out by asking it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from modelyard import keys
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.local.state import Layout, ProcessStatus, State, Status
from modelyard.redis import Redis
from modelyard.rpc.health import check_serving

TIMEOUT_S = 2.0


async def inspect(layout: Layout) -> Status:
    """Return what the suite says of itself, held against the kernel and each process's own answer."""
    pid, said = layout.holder(), layout.read()
    if not pid:
        gone = tuple(replace(p, state=State.DEAD, reason="`up` is gone") for p in said.processes)
        return replace(said, running=False, pid=0, processes=gone)
    if said.pid != pid:  # written by an earlier one; this one has only begun
        return Status(running=True, directory=str(layout.root), pid=pid)
    processes = await asyncio.gather(*(examine(p) for p in said.processes))
    return replace(said, running=True, processes=tuple(processes))


async def examine(process: ProcessStatus) -> ProcessStatus:
    """Return the status of a process that is said to be ready as it really is."""
    if process.state is not State.READY:
        return process
    if not process.process.lives:
        return replace(process, state=State.DEAD, reason="the process is gone")
    reason = "" if process.process.suspended else await _ask(process)
    if process.process.suspended:
        reason = "stopped by a signal"
    return replace(process, state=State.UNRESPONSIVE, reason=reason) if reason else process


async def _ask(process: ProcessStatus) -> str:
    """Return what is wrong with its answer; empty if nothing."""
    ask = {"etcd": _ask_etcd, "redis": _ask_redis}.get(process.name, _ask_service)
    try:
        async with asyncio.timeout(TIMEOUT_S + 0.5):
            await ask(process.address)
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except UnavailableError as error:
        return error.message
    return ""


async def _ask_etcd(address: str) -> None:
    etcd = Etcd(address)
    try:
        await etcd.get(keys.LEADER)
    finally:
        await etcd.close()


async def _ask_redis(address: str) -> None:
    redis = Redis(address)
    try:
        if not await redis.ping():
            raise UnavailableError(f"no answer from {address}")
    finally:
        await redis.close()


async def _ask_service(address: str) -> None:
    await check_serving(address, TIMEOUT_S)


async def etcd_answers(address: str) -> None:
    """Return once etcd can be used."""
    etcd = Etcd(address)
    try:
        await etcd.wait_ready()
    finally:
        await etcd.close()


async def redis_answers(address: str) -> None:
    """Return once Redis can be used."""
    redis = Redis(address)
    try:
        await redis.wait_ready()
    finally:
        await redis.close()
