"""Jobs whose time has come: what is held for them is let go, then Redis forgets them."""

from __future__ import annotations

import logging

from modelyard_scheduler.jobs.holds import JobHolds
from modelyard_scheduler.jobs.office import Office

log = logging.getLogger(__name__)

EVERY_S = 10.0


class Forgetting:
    """Forgets jobs."""

    def __init__(self, office: Office, holds: JobHolds) -> None:
        self._office = office
        self._holds = holds

    async def go(self) -> None:
        """Forget those that are to be forgotten by now. UnavailableError: the next time goes on."""
        for job in await self._office.queue.expire():
            await self._holds.release(job)
            await self._office.queue.delete(job)
            log.info("job forgotten", extra={"job": job})
