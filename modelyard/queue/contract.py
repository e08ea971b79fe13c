"""What a queue does, whatever it is made of: RedisQueue and, for tests, MemoryQueue.

Every method of RedisQueue raises UnavailableError while Redis is away, and ExhaustedError where Redis is at maxmemory
and the call would need more. At maxmemory running jobs go on: what ends work (finish, fail, lost, cancel, clear,
delete, recover), change, fetch and retry_dead pass, and enqueue and speculate with a leader's epoch. `submit` is
refused before that, so that they find room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelyard.queue.record_contract import RecordQueue
from modelyard.queue.records import (
    Caps,
    Claim,
    DeadLetter,
    Depth,
    Ended,
    Event,
    Failed,
    Idle,
    InFlight,
    Job,
    JobStatus,
    Recovered,
    Task,
    TaskName,
    TaskStatus,
)


class JobQueue(Protocol):
    """What a scheduler does with its jobs."""

    async def open(self, job: Job) -> None:
        """Make a job known, in state running; the same job again changes nothing.

        Raises:
            InvalidInputError: a name, the priority or the policy is malformed.
            AlreadyExistsError: another job has that id.
        """
        ...

    async def enqueue(self, job: str, tasks: Sequence[Task], caps: Caps, epoch: int = 0) -> list[TaskName | None]:
        """Queue tasks that are not yet there, as many from the front as the caps leave room for. Safe to repeat.

        Args:
            job: whose they are.
            tasks: in the order in which they are to be fetched.
            caps: of its tenant.
            epoch: of the leader who does it, as for `change`; 0: somebody else.

        Returns:
            For each None, or who was there before it: the task itself, or the holder of its dedupe key. A list that is
            shorter than `tasks` leaves out those for which there was no room.

        Raises:
            InvalidInputError: a name is malformed or a payload too long.
            NotFoundError: no such job.
            PreconditionError: the job is cancelled, or its record says that it has ended.
            AbortedError: a later leader leads.
            ExhaustedError: the caps of the tenant leave no room for any of them.
        """
        ...

    async def pause(self, job: str) -> None:
        """Have no task of the job fetched; those in flight go on. NotFoundError, PreconditionError if cancelled."""
        ...

    async def resume(self, job: str) -> None:
        """Have them fetched again. NotFoundError, PreconditionError if cancelled."""
        ...

    async def cancel(self, job: str) -> None:
        """Drop what is queued and make stale what is in flight; repeat it where it failed. NotFoundError."""
        ...

    async def delete(self, job: str) -> None:
        """Cancel, and leave nothing; repeat it where it failed. An unknown job is deleted already."""
        ...

    async def job(self, job: str) -> JobStatus:
        """Return a job as it stands. NotFoundError."""
        ...

    async def tasks(self, job: str, tasks: Sequence[str]) -> list[TaskStatus | None]:
        """Return tasks as they stand; None for one that is unknown."""
        ...

    async def ended(self, job: str, after: int, limit: int) -> list[Ended]:
        """Return the tasks that became done or dead, in that order, numbered from 1, above a number.

        A dead letter that was retried and has ended again is told again, both times as it is now. `clear` forgets what
        has ended until then, and the numbers go on: a new cursor begins at 0. An unknown job: none.
        """
        ...

    async def running(self, job: str, limit: int) -> list[InFlight]:
        """Return the tasks that are longest in flight, with who has them."""
        ...

    async def speculate(self, job: str, task: str, epoch: int = 0) -> bool:
        """Queue a second attempt of a task in flight; False if it is not, or has one. The first to finish wins.

        It stays for another worker than the one that has the first. AbortedError: as for `enqueue`.
        """
        ...

    async def events(self, job: str, after: int, wait_s: float = 0.0) -> list[Event]:
        """Return up to 100 events above a number; wait for one if there is none."""
        ...

    async def dead_letters(self, job: str, after: str = "", limit: int = 100) -> list[DeadLetter]:
        """Return a page of dead letters, oldest first, after the `letter` of the last one seen."""
        ...

    async def retry_dead(self, job: str, task: str, epoch: int = 0) -> bool:
        """Queue a dead letter's task again, with nothing counted against it. Safe to repeat.

        Returns:
            True: it is queued; False: nothing was changed, for it is no dead letter any more, or was none.

        Raises:
            NotFoundError: no such job, or task.
            PreconditionError: the job is cancelled, or its record says that it has ended.
            AbortedError: a later leader leads; `epoch` as for `enqueue`.
        """
        ...

    async def replies(self, replica: str, wait_s: float) -> list[TaskName]:
        """Return tasks that have ended and named this replica, as soon as there is one, at most 100.

        No name is that of whoever leads: it is told of jobs that are submitted, as tasks without a name.

        They only wake: one may be told twice or, if a replica dies, never. `tasks` and `active` know the truth.
        """
        ...


class ClaimQueue(Protocol):
    """What a worker does with tasks."""

    async def fetch(self, worker: str, models: Sequence[str], slot: int = 0) -> Claim | Idle:
        """Claim one task of a model that the worker has READY.

        A call whose answer is lost is answered with the claim that it has made, not with another, when it is repeated:
        at once by the driver; and where that was of no use either, by the next fetch for that `slot`, whatever models
        it names. For each slot the last claim is remembered for 10 minutes. So who fetches several times at once names
        another slot each time.

        Models take turns: the one that was served longest ago comes first, whoever served it; of those that were not
        served yet the first that is named. Within a model it is the turn of the tenant that was served least for its
        weight, and its most urgent task's.
        """
        ...

    async def wait(self, models: Sequence[str], wait_s: float) -> bool:
        """Return True once there may be something to fetch, False after `wait_s` seconds.

        A ring can be lost with who took it: wait no longer than a few seconds, nor than `Idle.due_s`.
        """
        ...

    async def extend(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """Begin the leases of the worker's claims anew; return those that are not its own any more."""
        ...

    async def finish(self, claim: Claim, result: bytes) -> bool:
        """End the task with a reference to its result, of at most 64 KiB. False: stale, nothing was changed.

        Safe to repeat: the claim that has finished it hears True again.
        """
        ...

    async def fail(self, claim: Claim, reason: str, *, retryable: bool = True) -> Failed:
        """End the claim without a result: the model raised. Of the reason 2000 characters are kept."""
        ...

    async def release(self, claim: Claim) -> bool:
        """Hand the task back unharmed, to be fetched next. False: stale."""
        ...

    async def lost(self, claim: Claim) -> Recovered | None:
        """Take back a claim whose runner died, as `recover` does, while its worker lives. None: stale."""
        ...


class Upkeep(Protocol):
    """What keeps the queue going."""

    async def recover(self, lease_s: float) -> list[Recovered]:
        """Take back claims that were not extended for a lease; call it about three times a lease.

        After a gap of a lease or more (nobody could reach the queue, then) it takes nothing before a lease has passed.
        After one of more than half a lease it waits for each claim as much longer.
        """
        ...

    async def recover_from(self, worker: str) -> list[Recovered]:
        """Take back at once what a worker has claimed that is known to be dead."""
        ...

    async def set_weight(self, tenant: str, weight: float) -> None:
        """Set a tenant's share among others, above 0; 1 by default."""
        ...

    async def depths(self) -> list[Depth]:
        """Return what there is to do, by tenant and model."""
        ...


class TaskQueue(JobQueue, RecordQueue, ClaimQueue, Upkeep, Protocol):
    """All of it."""
