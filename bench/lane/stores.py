"""Redis and etcd of a suite, looked at from outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from modelyard import codec, keys
from modelyard.deployment import Member
from modelyard.etcd import Etcd
from modelyard.local.commands import Status
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis

_SCAN = 1000
_NOT_OURS = ("info", "scan", "config|get")
"""Commands of whoever looks."""


async def redis_keys(redis: Redis) -> Counter[str]:
    """How many keys there are, by the word that they begin with; `job:ID:events` is `job::events`."""
    found: Counter[str] = Counter()
    cursor: bytes | int = b"0"
    while True:
        cursor, page = await redis.command("SCAN", cursor, "COUNT", _SCAN)
        found.update(_kind(key.decode()) for key in page)
        if int(cursor) == 0:
            return found


def _kind(key: str) -> str:
    words = key.removeprefix(PREFIX).split(":")
    return f"job::{words[2]}" if words[0] == "job" and len(words) > 2 else words[0]


async def etcd_keys(etcd: Etcd) -> Counter[str]:
    """How many keys there are of jobs and of what is held for them, by the words that they begin with."""
    found: Counter[str] = Counter()
    for prefix in (keys.JOBS, keys.HOLDS):
        for key in (await etcd.list(prefix)).items:
            words = key.removeprefix(keys.PREFIX).split("/")
            found["/".join(words[: 2 if prefix == keys.HOLDS else 1])] += 1
    return found


async def redis_work(redis: Redis) -> dict[str, float]:
    """What Redis has done so far: commands, those of scripts among them; scripts; CPU seconds of its main thread."""
    stats, cpu = await asyncio.gather(redis.command("INFO", "commandstats"), redis.command("INFO", "cpu"))
    calls = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in stats.items()}
    scripts = sum(calls.get(name, 0) for name in ("evalsha", "eval"))
    others = sum(count for name, count in calls.items() if name not in _NOT_OURS)
    return {"commands": others, "scripts": scripts, "cpu_s": _cpu_s(cpu)}


def _cpu_s(facts: dict[str, Any]) -> float:
    """Of the main thread, where this Redis tells it: children that write files anew are not to count."""
    names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
    if names[0] not in facts:
        names = ("used_cpu_user", "used_cpu_sys")
    return sum(float(facts[name]) for name in names)


def redis_of(suite: Status) -> Redis:
    """The suite's Redis; close it."""
    return Redis(suite.process("redis").address)


def etcd_of(suite: Status) -> Etcd:
    """The suite's etcd; close it."""
    return Etcd(suite.process("etcd").address)


def leader_of(suite: Status) -> str:
    """The name of the scheduler that leads; empty if none does."""

    async def read() -> str:
        etcd = etcd_of(suite)
        try:
            found = await etcd.get(keys.LEADER)
        finally:
            await etcd.close()
        return codec.decode(Member, found.value).id if found else ""

    return asyncio.run(read())
