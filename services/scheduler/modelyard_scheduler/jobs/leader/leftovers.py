"""What etcd has of jobs that nobody knows: Redis was given to us anew, or has forgotten the last it was told.

An operator may have given us a wrong Redis, so they are given time to come back.
"""

from __future__ import annotations

import logging

from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.gangs import Gangs
from modelyard_scheduler.jobs.leader.holds import JobHolds

log = logging.getLogger(__name__)

EVERY_S = 300.0
PATIENCE_S = 24 * 3600.0
"""As long as uploads are held that nobody uses."""
PAGE = 200


class Leftovers:
    """Lets go what is held for jobs that were unknown for a day of this term, and forgets how they were trained."""

    def __init__(self, context: LeaderContext, holds: JobHolds, gangs: Gangs) -> None:
        self._context = context
        self._holds = holds
        self._gangs = gangs
        self._since_s: dict[str, float] = {}

    async def go(self) -> None:
        """Look once. UnavailableError: etcd or Redis is away."""
        known = sorted({*await self._holds.jobs(), *await self._gangs.jobs()})
        unknown, now_s = await self._unknown(known), self._context.elapsed()
        self._since_s = {job: self._since_s.get(job, now_s) for job in unknown}
        for job, since_s in self._since_s.items():
            if now_s - since_s >= PATIENCE_S:
                await self._gangs.forget(job)
                await self._holds.release(job)
                log.warning("holds of an unknown job let go", extra={"job": job})

    async def _unknown(self, jobs: list[str]) -> list[str]:
        found: list[str] = []
        for at in range(0, len(jobs), PAGE):
            some = jobs[at : at + PAGE]
            records = await self._context.queue.records(some)
            found += [job for job, record in zip(some, records, strict=True) if record is None]
        return found
