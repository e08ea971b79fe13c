"""What a queue keeps of jobs, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelyard.queue.job_records import JobRecord, Listed, Written
from modelyard.queue.records import Caps, Job


class RecordQueue(Protocol):
    """What schedulers keep of jobs: a record, which whoever has read it may write anew if nobody has since."""

    async def submit(self, job: Job, written: Written, caps: Caps) -> JobRecord:
        """Make a job known with its record, in state running; return the record that it has then.

        If there is one of that id it is left as it is, whatever it says: the caller compares. Safe to repeat. Where the
        tenant has more than `caps.kept` now, its oldest that have ended are due to `expire`.

        Raises:
            InvalidInputError: as `open`, or the record is none.
            AlreadyExistsError: the id is of a job without a record.
            ExhaustedError: the tenant has as many jobs as it may that have not ended, or 90 % of Redis's memory are
                used.
        """
        ...

    async def change(self, job: str, written: Written, revision: int, epoch: int = 0) -> int | None:
        """Write a job's record, if its revision still is the one that was read; return the new one, else None.

        A change of phase is an event among those of its tasks. Safe to repeat: it is written once.

        Args:
            job: its id.
            written: the new record.
            revision: of the one that was read.
            epoch: of the leader who does it: who leads later has a higher one; 0: somebody else, the owner perhaps.

        Raises:
            InvalidInputError: the record is none.
            NotFoundError: no such job, or it has no record, or is being deleted.
            AbortedError: a later leader has written already.
        """
        ...

    async def record(self, job: str) -> JobRecord:
        """Return a job's record, with its plan. NotFoundError."""
        ...

    async def records(self, jobs: Sequence[str]) -> list[JobRecord | None]:
        """Return records, without plans; None for one that is unknown."""
        ...

    async def listed(self, tenant: str = "", below: int = 0, limit: int = 100) -> list[Listed]:
        """Return a page of the jobs that have a record, the newest first.

        Args:
            tenant: only its own; empty: of all.
            below: the `place` of the last one seen; 0: from the newest on.
            limit: how many at most.
        """
        ...

    async def active(self) -> list[str]:
        """Return the jobs with a record that have not ended, or were not cleared yet."""
        ...

    async def clear(self, job: str) -> None:
        """Remove the tasks that an ended job has left; dead letters can still be retried. Repeat it where it failed.

        Tasks that are still open are cancelled first.

        Raises:
            NotFoundError: no such job, or it has no record.
            PreconditionError: its record does not say that it has ended.
        """
        ...

    async def expire(self, limit: int = 100) -> list[str]:
        """Close jobs that are to be forgotten by now, and return them: their records cannot be changed any more.

        Let go what else is held for them, then `delete` them; until then they are told again.
        """
        ...
