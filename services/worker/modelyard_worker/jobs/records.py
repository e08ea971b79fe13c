"""What workers know of jobs: each one's record is read once, and kept while a claim of it is worked on."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from modelyard import codec
from modelyard.jobs.job import Job
from modelyard.queue import RecordQueue
from modelyard_worker.jobs.patience import answered


class Records:
    """The records of the jobs that this worker has claims of."""

    def __init__(self, queue: RecordQueue) -> None:
        self._queue = queue
        self._jobs: dict[str, Job] = {}
        self._users: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def of(self, job: str) -> AsyncIterator[Job | None]:
        """Yield a job as it was when it was first asked for; None if it is gone, or of a later release."""
        self._users[job] += 1
        try:
            yield await self._read(job)
        finally:
            self._users[job] -= 1
            if not self._users[job]:
                del self._users[job]
                self._jobs.pop(job, None)

    async def _read(self, job: str) -> Job | None:
        if (known := self._jobs.get(job)) is not None:
            return known
        (record,) = await answered(lambda: self._queue.records([job]))  # without its plan, which may be large
        if record is None:
            return None
        found = codec.understood(lambda data: codec.decode(Job, data), job, record.record)
        if found is not None and not found.ended:  # it may be revived
            self._jobs[job] = found
        return found
