"""The dead letters of a job: told, and executed again if its owner wishes so."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from modelyard.errors import ExhaustedError, InvalidInputError, NotFoundError
from modelyard.jobs import lifecycle
from modelyard.jobs.job import DeadLetter, Job
from modelyard.jobs.tasks import TaskSpec
from modelyard.names import check_name
from modelyard.queue import DeadLetter as QueueLetter
from modelyard.queue import JobQueue
from modelyard_scheduler.jobs.api.service import MAX_PAGE, page_size
from modelyard_scheduler.jobs.records import Records

MOST_RETRIED = 10_000
"""That a job's record can name at a time."""
BUSY_RETRY_AFTER_S = 1.0
_TOKEN = re.compile(r"[0-9]{1,18}-[0-9]{1,18}\Z", re.ASCII)


class DeadLetters:
    """Every method raises NotFoundError if there is no such job, and UnavailableError while Redis is away."""

    def __init__(self, queue: JobQueue, records: Records, clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self._queue = queue
        self._records = records
        self._clock = clock

    async def page(self, job: str, size: int = 0, token: str = "") -> tuple[list[DeadLetter], str]:
        """Dead letters, oldest first, and the token of the next page; empty: it is the last.

        Raises:
            InvalidInputError: the size is below 0, or the token none of ours.
            PreconditionError: it trains a model.
        """
        size = page_size(size)
        if token and not _TOKEN.match(token):
            raise InvalidInputError(f"page_token: expected one that a page came with, got {token!r:.80}")
        await self._check(job)
        found = await self._queue.dead_letters(job, token, size + 1)
        return [_told(letter) for letter in found[:size]], found[size - 1].letter if len(found) > size else ""

    async def retry(self, job: str, tasks: Sequence[str] = ()) -> int:
        """Have dead letters executed again, with nothing counted against them; how many tasks that are.

        It is written down as a wish; the leader queues them. Tasks that are executed again already, or are done by now,
        are left as they are and not counted, so that the same call can be repeated.

        Args:
            job: whose.
            tasks: which; none: all, as far as MOST_RETRIED go.

        Raises:
            NotFoundError: the job has no such task, or had it and it is done.
            InvalidInputError: they are more than MOST_RETRIED.
            ExhaustedError: with those that wait to be retried they are.
            PreconditionError: the job is neither under way nor PARTIALLY_SUCCEEDED, or trains a model.
        """
        if len(tasks) > MOST_RETRIED:
            raise InvalidInputError(f"tasks: expected at most {MOST_RETRIED}, got {len(tasks)}")
        await self._check(job)
        wanted = await self._known(job, tasks) if tasks else await self._all(job)
        if wanted:
            await self._records.change(job, lambda found: self._wished(found, wanted))
        return len(wanted)

    async def _check(self, job: str) -> None:
        _ = (await self._records.read(check_name("job", job))).job.spec.rows

    def _wished(self, job: Job, tasks: Collection[str]) -> Job:
        known = set(job.retrying)
        more = [task for task in tasks if task not in known]
        if len(known) + len(more) > MOST_RETRIED:
            message = f"job {job.id}: {len(known)} dead letters wait to be retried, at most {MOST_RETRIED} can"
            raise ExhaustedError(message, retry_after_s=BUSY_RETRY_AFTER_S)
        revived = lifecycle.revive(job, sum(TaskSpec.parse(task).rows for task in more), self._clock())
        return replace(revived, retrying=(*job.retrying, *more))

    async def _known(self, job: str, tasks: Sequence[str]) -> list[str]:
        names = list(dict.fromkeys(check_name("task", task) for task in tasks))
        found = await self._queue.tasks(job, names)
        for name, status in zip(names, found, strict=True):
            if status is None:
                raise NotFoundError(f"job {job}: no dead letter of task {name}")
        return [status.task for status in found if status and status.state == "dead"]

    async def _all(self, job: str) -> list[str]:
        found: list[QueueLetter] = []
        while len(found) < MOST_RETRIED:
            page = await self._queue.dead_letters(job, found[-1].letter if found else "", MAX_PAGE)
            found += page
            if len(page) < MAX_PAGE:
                break
        return [letter.task for letter in found[:MOST_RETRIED]]


def _told(letter: QueueLetter) -> DeadLetter:
    row = TaskSpec.parse(letter.task).row
    return DeadLetter(letter.task, row, letter.reason, letter.failures, letter.deaths)
