"""Jobs: looked at, listed, and told what their owners wish. Any replica does this; the leader makes it happen."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from modelyard.errors import PASSING, InvalidInputError, NotFoundError, PreconditionError
from modelyard.jobs import lifecycle
from modelyard.jobs.job import Job
from modelyard.jobs.listing import JobFilter, place_of
from modelyard.names import check_name
from modelyard.queue import Listed, TaskQueue
from modelyard_scheduler.jobs.records import Records

MAX_PAGE = 1000
DEFAULT_PAGE = 100
MOST_LOOKED_AT = 2000
"""So many jobs are looked at for a page; if few of them are wanted the page is short, and another one follows."""
_SCAN = 250
"""So many are read at a time, where more are read than fit on the page."""


def page_size(asked: int) -> int:
    """How many a page holds at most; raise InvalidInputError if that is less than nothing."""
    if asked < 0:
        raise InvalidInputError(f"page_size: expected 0 to {MAX_PAGE}, got {asked}")
    return min(asked or DEFAULT_PAGE, MAX_PAGE)


class Jobs:
    """Every method raises UnavailableError while Redis is away."""

    def __init__(self, queue: TaskQueue, records: Records, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._queue = queue
        self._records = records
        self._clock = clock

    async def get(self, job: str) -> Job:
        """A job as it is now. NotFoundError."""
        return (await self._records.read(check_name("job", job))).job

    async def page(self, wanted: JobFilter, size: int = 0, token: str = "") -> tuple[list[Job], str]:
        """Jobs that are wanted, newest first, and the token of the next page; empty: it is the last.

        A job that is submitted between two pages is on none of them; none is on both.

        Args:
            wanted: which.
            size: at most so many, no more than MAX_PAGE; 0: DEFAULT_PAGE.
            token: of the page before.

        Raises:
            InvalidInputError: the size is below 0, or the token none of ours.
        """
        size, below = page_size(size), place_of(token)
        found: list[tuple[int, Job]] = []
        looked_at, count = 0, min(size + 1, _SCAN)
        while looked_at < MOST_LOOKED_AT:
            listed = await self._queue.listed(wanted.tenant, below, count)
            found += [(place, job) for place, job in await self._read(listed) if wanted.matches(job)]
            if len(found) > size:
                return [job for _, job in found[:size]], str(found[size - 1][0])
            if len(listed) < count:
                return [job for _, job in found], ""
            below, looked_at, count = listed[-1].place, looked_at + count, _SCAN
        return [job for _, job in found], str(below)

    async def _read(self, listed: Sequence[Listed]) -> list[tuple[int, Job]]:
        """Jobs with their places, less those that are forgotten meanwhile."""
        places = {one.job: one.place for one in listed}
        return [(places[held.job.id], held.job) for held in await self._records.read_all(list(places))]

    async def cancel(self, job: str) -> Job:
        """Have a job cancelled; results that are there stay. NotFoundError; PreconditionError: it has ended."""
        return await self._wish(job, lifecycle.cancel, self._queue.cancel)

    async def pause(self, job: str) -> Job:
        """Have no task of it begun any more. NotFoundError; PreconditionError: there is none left to be begun."""
        return await self._wish(job, lifecycle.pause, self._queue.pause)

    async def resume(self, job: str) -> Job:
        """Have them begun again. NotFoundError; PreconditionError: it is not PAUSED, nor under way."""
        return await self._wish(job, lifecycle.resume, self._queue.resume)

    async def _wish(self, job: str, wish: Callable[[Job, float], Job], follow: Callable[[str], Awaitable[None]]) -> Job:
        held = await self._records.change(check_name("job", job), lambda found: wish(found, self._clock()))
        # The wish is written down, and the leader makes the queue follow: this is only sooner. By now somebody may have
        # wished otherwise, or Redis be away.
        with contextlib.suppress(PreconditionError, NotFoundError, *PASSING):
            await follow(job)
        return held.job
