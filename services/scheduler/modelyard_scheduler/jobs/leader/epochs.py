"""What a leader's writes into Redis are ordered by: the create revision of its key in etcd, plus an offset.

An etcd that is set up anew, or is restored from a backup, counts its revisions from a lower one on. Redis knows later
epochs then, and would take every leader for one that was deposed. Who leads by etcd, and hears from Redis that somebody
else does, raises the offset above all that Redis knows.

epochs/offset    what is added to revisions; absent: 0. It only grows
"""

from __future__ import annotations

import logging

from modelyard import keys
from modelyard.etcd import Put
from modelyard_scheduler.jobs.leader.context import LeaderContext

log = logging.getLogger(__name__)

PAGE = 200


async def offset(context: LeaderContext) -> int:
    """What is to be added now. UnavailableError: etcd is away."""
    found = await context.backends.etcd.get(keys.EPOCH_OFFSET)
    return int(found.value) if found else 0


async def raise_offset(context: LeaderContext) -> None:
    """Have the next epoch of this term be later than all that Redis knows.

    Raises:
        AbortedError: another one leads.
        UnavailableError: etcd or Redis is away.
    """
    await context.check_leads()
    last = await _last(context)
    if last > context.epoch:
        log.error("etcd is not the one that redis has epochs of", extra={"last": last, "epoch": context.epoch})
        await context.commit(Put(keys.EPOCH_OFFSET, str(last).encode()))


async def _last(context: LeaderContext) -> int:
    """The last epoch of all jobs that are looked after."""
    jobs, last = await context.queue.active(), 0
    for at in range(0, len(jobs), PAGE):
        found = await context.queue.records(jobs[at : at + PAGE])
        last = max([last, *(record.epoch for record in found if record)])
    return last
