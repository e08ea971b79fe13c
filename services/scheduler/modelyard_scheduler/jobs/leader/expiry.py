"""Jobs whose time has come: what is held for them is let go, then Redis forgets them."""

from __future__ import annotations

import logging

from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.holds import JobHolds

log = logging.getLogger(__name__)

EVERY_S = 10.0
PAGE = 100


class Expiry:
    """Forgets jobs."""

    def __init__(self, context: LeaderContext, holds: JobHolds) -> None:
        self._context = context
        self._holds = holds

    async def go(self) -> None:
        """Forget those that are to be forgotten by now. UnavailableError: the next time goes on."""
        while jobs := await self._context.queue.expire(PAGE):
            for job in jobs:
                await self._holds.release(job)
                await self._context.queue.delete(job)
                log.info("job forgotten", extra={"job": job})
