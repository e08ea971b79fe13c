"""The queue's Lua scripts, and the map of its keys.

All keys begin with the queue's prefix, `{modelyard}:`. Model stands for `model@version`; times are Redis's, in ms.

key                                  type    content
job:{job}                            hash    model, tenant, priority, retry policy, state, counters, event number; of
                                             one with a record: record, plan, revision, epoch, phase, ended, cleared
job:{job}:open, job:{job}:closed     set     its tasks that have not ended, that have
job:{job}:running                    zset    its tasks in flight, by since when
job:{job}:parked                     list    its tasks that are out of their stream while it is paused, or has ended
job:{job}:endings                    list    its tasks, as they became done or dead
job:{job}:events                     stream  its events, by number; the last 1000
job:{job}:dead                       stream  its dead letters
jobs, jobs:{tenant}                  zset    jobs with a record, by their place in the list
active, active:{tenant}              set     those that have not ended, or were not cleared yet
expiring                             zset    those that have ended, by when they are to be forgotten
task:{job}/{task}                    hash    payload, state, counts, result; e:{entry}: the token of its claim
tasks:{model}:{tenant}:{priority}    stream  entries (j: job, t: task), read by the group `workers`; no MAXLEN
lanes                                set     the streams there are
delayed:{model}                      zset    {job}/{task}, by when it can be fetched again; {job}/: its parked ones
ready:{model}:{tenant}               hash    priority: entries that can be fetched
turns:{model}, served:{model}        zset    tenants, by what they were served for their weight
held:{tenant}                        set     models that it waits for until it has less in flight
rota                                 zset    models, in the order in which they were served last; the last 1000
weights                              hash    tenant: weight, where it is not 1
bell:{model}                         list    at most one ring for who waits
tenants                              set     those with tasks
load:{tenant}                        hash    queued:{model}, delayed:{model}, in_flight:{model}, dead:{model}; cap
dedupe:{tenant}:{key}                string  {job}/{task} that holds the key; goes with it
reply:{replica}                      list    {job}/{task} that have ended; without a name: {job}/ of new jobs; expires
fetched:{worker}:{slot}              string  its last claim, token first; expires
sweep                                string  since when late claims are looked for; expires

What a job leaves goes with it (`delete`), its tasks before it if it has a record (`clear`); `rota` goes with the last
stream; `weights` is configuration.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any

from modelyard.redis import Redis

PREFIX = "{modelyard}:"
_NEEDS = "-- needs: "


def source_of(name: str) -> str:
    """Return a script's text, with the parts that it needs before it.

    Raises:
        FileNotFoundError: there is no such script, or part.
    """
    text = _read(name)
    needs = next((line for line in text.splitlines() if line.startswith(_NEEDS)), _NEEDS)
    return "".join(_read(part) for part in needs.removeprefix(_NEEDS).split()) + text


def _read(name: str) -> str:
    return resources.files("modelyard.queue").joinpath("scripts", f"{name}.lua").read_text()


class Script:
    """One of the scripts, on one Redis."""

    def __init__(self, redis: Redis, name: str, prefix: str) -> None:
        """`name`: of the file, without `.lua`."""
        self._redis = redis
        self._prefix = prefix
        self._source = source_of(name)
        self._digest = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, *arguments: bytes | str | float) -> Any:
        """Run it in one go; numbers and bytes as they come.

        Raises:
            UnavailableError: Redis is away.
            ExhaustedError: Redis is at maxmemory, and this would need more.
        """
        return await self._redis.evaluate(self._source, self._digest, self._prefix, *arguments)
