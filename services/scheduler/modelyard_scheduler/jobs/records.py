"""Jobs and their plans in the queue's records: read, and written if nobody has since. The rest is JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelyard.codec import MalformedError, decode, encode, understood
from modelyard.errors import DataLossError
from modelyard.jobs.job import Job
from modelyard.jobs.planning import Plan
from modelyard.jobs.poison import retry_policy
from modelyard.names import ModelVersion
from modelyard.queue import Caps, JobRecord, RecordQueue, Written
from modelyard.queue import Job as QueueJob

KEEP_S = 7 * 24 * 3600.0
"""How long a job is kept that has ended."""


class Held(NamedTuple):
    """A job as it was read; `plan`: None while there is none, and where several are read; `epoch`: of its leader."""

    job: Job
    plan: Plan | None
    revision: int
    epoch: int


def model_of(job: Job) -> ModelVersion:
    """What it executes."""
    return ModelVersion(job.spec.inference.model, job.spec.inference.version)


def queue_job(job: Job) -> QueueJob:
    """What the queue is told of a job."""
    model = job.spec.model if job.spec.training else str(model_of(job))
    return QueueJob(job.id, model, job.tenant, job.spec.priority, retry_policy(job.spec))


class Records:
    """The records of all jobs. Every method raises UnavailableError while Redis is away."""

    def __init__(self, queue: RecordQueue, caps: Caps) -> None:
        """`caps`: of each tenant."""
        self._queue = queue
        self._caps = caps

    async def submit(self, job: Job) -> Held:
        """Make a job known; if its id is there already, return the one that is there.

        Raises:
            ExhaustedError: its tenant has as many jobs as it may that have not ended; or Redis is full.
        """
        return _held(await self._queue.submit(queue_job(job), _written(job), self._caps))

    async def read(self, job: str) -> Held:
        """Return a job with its plan.

        Raises:
            NotFoundError: there is none.
            DataLossError: its record is not understood.
        """
        return _held(await self._queue.record(job))

    async def read_all(self, jobs: Sequence[str]) -> list[Held]:
        """Return jobs without their plans; those that are unknown, or not understood, are left out."""
        found = [record for record in await self._queue.records(jobs) if record]
        known = [(understood(_job, f"job:{record.job}", record.record), record) for record in found]
        return [Held(job, None, record.revision, record.epoch) for job, record in known if job]

    async def write(self, held: Held, job: Job, plan: Plan | None = None, epoch: int = 0) -> Held | None:
        """Write a job as it is now, if nobody has since it was read.

        Args:
            held: what was read.
            job: what it is now. One that has ended is kept for KEEP_S.
            plan: None: as it was.
            epoch: of the leader who writes; 0: somebody else.

        Returns:
            What it is now, to be written next; None if somebody was faster.

        Raises:
            NotFoundError: it is forgotten.
            AbortedError: a later leader leads.
            InvalidInputError: job or plan has more than 1 MiB.
        """
        revision = await self._queue.change(job.id, _written(job, plan), held.revision, epoch)
        if revision is None:
            return None
        return Held(job, plan or held.plan, revision, max(epoch, held.epoch))

    async def change(self, job_id: str, make: Callable[[Job], Job]) -> Held:
        """Write what is made of a job, read anew until nobody was faster; nothing is written if it stays as it is.

        Raises:
            NotFoundError: there is none.
            ModelyardError: what `make` raises.
        """
        while True:
            held = await self.read(job_id)
            made = make(held.job)
            if made == held.job:
                return held
            if written := await self.write(held, made):
                return written


def _written(job: Job, plan: Plan | None = None) -> Written:
    keep_s = KEEP_S if job.ended else None
    return Written(encode(job), job.state.value, encode(plan) if plan else None, keep_s)


def _held(record: JobRecord) -> Held:
    try:
        plan = decode(Plan, record.plan) if record.plan else None
        return Held(_job(record.record), plan, record.revision, record.epoch)
    except MalformedError as error:
        raise DataLossError(f"job {record.job}: its record is not understood: {error}") from error


def _job(record: bytes) -> Job:
    return decode(Job, record)
