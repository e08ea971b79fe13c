"""One training job, looked after for as long as a term lasts: what its record says now decides what is done.

QUEUED -> PLANNING   what it reads is held and looked for, the name of what comes out is its tenant's from now on
       -> RUNNING    its processes are wished for; what they report is written into the record
       -> FINISHING  it has trained; its version is registered, then released
       -> SUCCEEDED

PAUSED and CANCELLING have its processes save what there is, then go. When it has ended nothing of it is left in etcd.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from modelyard.backoff import Backoff
from modelyard.catalogue import Manifest
from modelyard.errors import PASSING, AbortedError, ModelyardError
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import advance, moved
from modelyard.jobs.states import Actor, JobState
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.gangs import Gangs
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.names import ModelNames
from modelyard_scheduler.jobs.leader.preparation import FIRST_DELAY_S, LONGEST_DELAY_S, WAITING
from modelyard_scheduler.jobs.leader.training_course import MOST_REASON, TrainingCourse, begun, idle, saved, spent, told
from modelyard_scheduler.jobs.leader.training_rounds import CANCEL_S, TrainingRounds

log = logging.getLogger(__name__)

FindArtifact = Callable[[str, str, str], Awaitable[Manifest]]
"""Holds an artifact for a day: its digest, the tenant, the upload. NotFoundError, DataLossError, UnavailableError."""
_UNDER_WAY = (JobState.RUNNING, JobState.PAUSED, JobState.FINISHING)


class TrainingSteps:
    """Takes training jobs a step further."""

    def __init__(
        self, context: LeaderContext, holds: JobHolds, gangs: Gangs, rounds: TrainingRounds, find_artifact: FindArtifact
    ) -> None:
        self._context = context
        self._holds = holds
        self._gangs = gangs
        self._rounds = rounds
        self._find_artifact = find_artifact
        self._names = ModelNames(context)

    async def go(self, name: str, course: TrainingCourse | None, revision: int) -> TrainingCourse | None:
        """As Kinds.go; `revision`: of its record, as it was seen last."""
        if course is None or course.again or course.held.revision != revision:
            held = await self._context.records.read(name)
            course = course or TrainingCourse(held)
            course.held = held
        course.again = False
        if course.job.state in WAITING:
            await self._prepare(course)
        elif course.job.state is JobState.PAUSED and not course.job.start_time_s:
            await self._rest(course)
        elif course.job.state in _UNDER_WAY:
            await self._rounds.go(course)
        elif course.job.state is JobState.CANCELLING:
            await self._cancel(course)
        else:
            return None if await self._settle(course) else course
        return course

    async def sweep(self, active: Collection[str]) -> None:
        """Withdraw the processes of jobs that are not active."""
        await self._gangs.sweep(active)

    async def _write_if_moved(self, course: TrainingCourse, job: Job) -> bool:
        """Write a job that has another state now; return whether it has, or somebody was faster."""
        if job.state is course.job.state:
            return False
        await self._rounds.write(course, job)
        course.again = True
        return True

    async def _rest(self, course: TrainingCourse) -> None:
        """Of a job that was paused before it had begun: what it reads is held for as long as that lasts."""
        if not course.holds_input and await self._holds.is_submitted(course.job):
            await self._hold(course.job)
        course.holds_input = True
        await self._write_if_moved(course, advance(course.job, self._context.clock()))

    async def _hold(self, job: Job) -> None:
        await self._holds.hold_input(job)
        if job.checkpoint:
            await self._holds.hold_checkpoints(job, (job.checkpoint.digest,), job.checkpoint.step)

    async def _prepare(self, course: TrainingCourse) -> None:
        if await self._write_if_moved(course, advance(course.job, self._context.clock())):
            return
        if course.job.state is JobState.QUEUED:
            if self._context.elapsed() >= course.not_before_s:
                await self._move(course, JobState.PLANNING)
            return
        try:
            await self._check(course.job)
        except AbortedError:
            raise
        except PASSING as error:
            await self._put_off(course, error)
        except ModelyardError as error:
            await self._move(course, JobState.FAILED, error.message[:MOST_REASON])
        else:
            course.delays = None
            job = moved(begun(course.job), JobState.RUNNING, Actor.LEADER, self._context.clock())
            await self._write_if_moved(course, job)

    async def _put_off(self, course: TrainingCourse, error: ModelyardError) -> None:
        course.delays = course.delays or Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
        course.not_before_s = self._context.elapsed() + course.delays.next()
        log.warning("begun later", extra={"job": course.job.id, "reason": str(error)})
        await self._move(course, JobState.QUEUED, error.message[:MOST_REASON])
        course.again = False

    async def _move(self, course: TrainingCourse, target: JobState, reason: str = "") -> None:
        job = moved(course.job, target, Actor.LEADER, self._context.clock(), reason)
        await self._write_if_moved(course, job)

    async def _check(self, job: Job) -> None:
        """Find out what can be found out before its code is run, and hold what it reads.

        What is not there is not held: nothing would be collected any more.

        Raises:
            NotFoundError: what it reads is not in the artifact store.
            DataLossError: it is not whole there.
            PermissionDeniedError: the name of what comes out is another tenant's.
            PreconditionError: the model of that name is deleted.
            UnavailableError: the registry or etcd is away.
        """
        read = [artifact.manifest_digest for artifact in job.spec.artifacts]
        for digest in dict.fromkeys([*([job.checkpoint.digest] if job.checkpoint else ()), *read]):
            await self._find_artifact(digest, job.tenant, job.id)
        await self._hold(job)
        await self._names.reserve(job)

    async def _cancel(self, course: TrainingCourse) -> None:
        gang = await self._rounds.look(course)
        if not await self._rounds.stop(course, gang, "it is cancelled", CANCEL_S):
            return
        job = told(course.job, gang.report, gang.spent_s) if gang.report else course.job
        job = moved(idle(saved(job, gang.saved)), JobState.CANCELLED, Actor.LEADER, self._context.clock(), job.reason)
        await self._write_if_moved(course, job)

    async def _settle(self, course: TrainingCourse) -> bool:
        """Leave nothing of it but its record: what it reads and its last checkpoint are held until it is forgotten.

        Returns whether that is done: its owner was not faster.
        """
        gang = await self._gangs.read(course.job.id)
        job = saved(spent(course.job, gang.spent_s), gang.saved)
        if job != course.job and not await self._rounds.write(course, job):
            return False
        if job.checkpoint:
            await self._holds.hold_checkpoints(job, (job.checkpoint.digest,), job.checkpoint.step)
        await self._gangs.forget(course.job.id)
        await self._names.release(job)
        await self._holds.release_uploads(course.job)
        await self._context.queue.clear(course.job.id)
        return True
