"""Both queues, with a clock that tests set: the twin's is faked, on Redis everything is made older instead."""

from __future__ import annotations

import hashlib
from typing import Protocol

from modelyard.queue import Caps, Claim, Job, RedisQueue, Task, TaskQueue
from modelyard.queue.memory import MemoryQueue
from modelyard.queue.script import PREFIX
from modelyard.redis import Redis

MODEL = "digits@1"
CAPS = Caps()
LEASE_S = 1000.0

AGE = """
local P, by = KEYS[1], tonumber(ARGV[1])
for _, name in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  local stream = P .. 'tasks:' .. name
  for _, p in ipairs(redis.call('XPENDING', stream, 'workers', '-', '+', 100000)) do
    redis.call('XCLAIM', stream, 'workers', p[2], 0, p[1], 'IDLE', p[3] + by, 'JUSTID')
  end
end
for _, pattern in ipairs({'delayed:*', 'job:*:running', 'expiring'}) do
  for _, key in ipairs(redis.call('KEYS', P .. pattern)) do
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do redis.call('ZINCRBY', key, -by, member) end
  end
end
local left, sweep = redis.call('PTTL', P .. 'sweep'), redis.call('GET', P .. 'sweep')
if sweep then
  redis.call('DEL', P .. 'sweep')
  if left > by then redis.call('SET', P .. 'sweep', string.format('%.0f', sweep - by), 'PX', left - by) end
end
"""
AGE_DIGEST = hashlib.sha1(AGE.encode(), usedforsecurity=False).hexdigest()


class Aged(Protocol):
    """A queue for which time passes when a test says so."""

    queue: TaskQueue

    async def advance(self, seconds: float) -> None: ...


class AgedRedis:
    """On Redis: what waits has waited longer."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.queue: TaskQueue = RedisQueue(redis)

    async def advance(self, seconds: float) -> None:
        await self.redis.evaluate(AGE, AGE_DIGEST, PREFIX, round(seconds * 1e3))


class AgedMemory:
    """In memory: the clock is faked."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.queue: TaskQueue = MemoryQueue(lambda: self.now_s)

    async def advance(self, seconds: float) -> None:
        self.now_s += seconds


async def opened(queue: TaskQueue, job: str = "j", tasks: int = 1, tenant: str = "t", priority: int = 5) -> None:
    """Open a job with tasks 0, 1, ..."""
    await queue.open(Job(job, MODEL, tenant, priority))
    if tasks:
        await queue.enqueue(job, [Task(str(number), b"p%d" % number) for number in range(tasks)], CAPS)


async def claimed(queue: TaskQueue, worker: str = "w") -> Claim:
    """Fetch; there must be something."""
    claim = await queue.fetch(worker, [MODEL])
    assert isinstance(claim, Claim)
    return claim


async def keys_of(redis: Redis) -> set[str]:
    """All keys but those that only help a worker to repeat its last fetch, which expire."""
    return {key.decode() for key in await redis.command("KEYS", "*") if b"}:fetched:" not in key}
