"""A round of a training job that was begun: what was reported, what becomes of the job, what its processes are to do.

Each effect can be repeated, and who goes on after any of them comes to the same: what processes are there, and what
they were told, is in etcd; what has become of the job is in its record.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from modelyard.errors import UnavailableError
from modelyard.jobs.gang import control_of, ranks_of
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import advance, moved
from modelyard.jobs.states import Actor, JobState
from modelyard.jobs.training_progress import TrainingReport
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.gangs import Gang, Gangs
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.release import Releases
from modelyard_scheduler.jobs.leader.training_course import (
    MOST_REASON,
    MOST_TRACEBACK,
    TrainingCourse,
    idle,
    is_worth_telling,
    saved,
    told,
    untold,
    waits,
)
from modelyard_scheduler.jobs.leader.waiting import no_hope, waits_for
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

CANCEL_S, PAUSE_S = 3.5, 30.0
"""How long processes may take to save what there is, of a job that is cancelled and of one that is paused."""
HOPELESS_S = 60.0
"""A job that no worker can run is given so long: workers come and go."""
_WAITED, _LEFT = "its processes of before are ending", "it has stopped by itself"


class TrainingRounds:
    """Rounds of training jobs."""

    def __init__(self, context: LeaderContext, holds: JobHolds, gangs: Gangs, releases: Releases, state: State) -> None:
        self._context = context
        self._holds = holds
        self._gangs = gangs
        self._releases = releases
        self._state = state

    async def go(self, course: TrainingCourse) -> None:
        """Do all there is to do now for a job that is RUNNING, PAUSED or FINISHING.

        Raises:
            UnavailableError: Redis or etcd is away; what was not done is done by a later round.
            AbortedError: another one leads.
            NotFoundError: the job is forgotten.
        """
        gang = await self.look(course)
        job = saved(self._become(course, gang), gang.saved)
        if job.state is JobState.SUCCEEDED:
            job = await self._released(course, job)
        elif job.state is course.job.state:
            job = await self._keep(course, gang, job)
        moves = job.state is not course.job.state
        if moves or is_worth_telling(job, course.job):
            await self.write(course, job)
            course.again = course.again or moves

    async def look(self, course: TrainingCourse) -> Gang:
        """Return what there is of the processes of a job; its checkpoints are held from now on."""
        gang = await self._gangs.read(course.job.id)
        if (last := gang.saved) and course.kept != (kept := (last.name, *last.before)):
            await self._holds.hold_checkpoints(course.job, kept, last.position.step)
            course.kept = kept
        return gang

    def _become(self, course: TrainingCourse, gang: Gang) -> Job:
        """What its report and the clock make of a job."""
        now_s, report = self._context.clock(), gang.report
        if report is None:
            return advance(course.job, now_s)
        job = told(course.job, report, gang.spent_s)
        if report.failed:
            failed = replace(job, traceback=report.traceback[-MOST_TRACEBACK:])
            return moved(failed, JobState.FAILED, Actor.LEADER, now_s, report.failed[:MOST_REASON])
        if job.state is JobState.FINISHING:
            return self._ended(job, report, now_s)
        if report.finished:
            return moved(job, JobState.FINISHING, Actor.LEADER, now_s)
        return advance(job, now_s)

    @staticmethod
    def _ended(job: Job, report: TrainingReport, now_s: float) -> Job:
        """What becomes of a job that has trained, once its version is there; of a script there may be none."""
        if report.version:
            return moved(job, JobState.SUCCEEDED, Actor.LEADER, now_s)
        if report.finished and job.spec.training and job.spec.training.code.is_script:
            return moved(job, JobState.SUCCEEDED, Actor.LEADER, now_s, report.finished)
        return job

    async def _released(self, course: TrainingCourse, job: Job) -> Job:
        """A job that has SUCCEEDED once what it has made is released; why it is not, or not yet, is its reason."""
        if not job.version or job.spec.training is None:
            return job
        try:
            reason = await self._releases.release(job.spec.training, job.version, job.tenant)
        except UnavailableError as error:
            if not course.stopped:  # they have done their part
                await self._gangs.withdraw(job.id)
                course.stopped = True
            return replace(job, state=JobState.FINISHING, end_time_s=0.0, reason=error.message[:MOST_REASON])
        return replace(job, reason=reason[:MOST_REASON])

    async def _keep(self, course: TrainingCourse, gang: Gang, job: Job) -> Job:
        """Have its processes be there, or not, as its state says; return the job with the reason why it waits."""
        charter, stopped = gang.charter, gang.report is not None and gang.report.stopped
        if job.state is JobState.PAUSED:
            return idle(job) if await self.stop(course, gang, "it is paused", PAUSE_S) else job
        if charter is None or (charter.stop and await self._has_gone(course, gang)):
            await self._gangs.launch(job, charter)
            course.stopping_s, course.stopped = None, False
            return idle(job)
        if stopped and not charter.stop:
            await self.stop(course, gang, _LEFT, PAUSE_S)
        await self._tell_places(gang, job)
        if job.state is JobState.FINISHING:
            return replace(job, reason="")
        return replace(idle(job), reason=_WAITED) if charter.stop else self._explained(course, gang, job)

    async def _tell_places(self, gang: Gang, job: Job) -> None:
        shared = job.spec.training is not None and job.spec.training.parallelism.replica > 1
        if shared and (places := len(self._state.placed(ranks_of(job.id), internal=True))) != gang.places:
            await self._gangs.tell_places(job.id, places)

    async def _has_gone(self, course: TrainingCourse, gang: Gang) -> bool:
        """Whether nothing is left of processes that were to stop; one that puts its result in order is not hurried."""
        if course.job.state is JobState.FINISHING and not (gang.report and gang.report.stopped):
            return False
        return await self.stop(course, gang, _LEFT, PAUSE_S) and not self._is_left(course.job.id)

    def _explained(self, course: TrainingCourse, gang: Gang, job: Job) -> Job:
        progress = job.progress.training
        if progress and len(progress.members) >= progress.min_workers:
            course.hopeless_s = None
            return (
                replace(job, reason=waits(gang.report))
                if gang.controlled
                else untold(job, waits_for(job.id, self._state))
            )
        return self._given_up(course, job) or replace(job, reason=waits_for(job.id, self._state))

    def _given_up(self, course: TrainingCourse, job: Job) -> Job | None:
        """The job as it is when no worker has been able to run it for long enough; None: it has not come to that."""
        reason, now_s = no_hope(job.id, self._state), self._context.elapsed()
        if not reason:
            course.hopeless_s = None
            return None
        course.hopeless_s = now_s if course.hopeless_s is None else course.hopeless_s
        if now_s - course.hopeless_s < HOPELESS_S:
            return None
        course.again = True
        return moved(job, JobState.FAILED, Actor.LEADER, self._context.clock(), reason)

    async def stop(self, course: TrainingCourse, gang: Gang, reason: str, patience_s: float) -> bool:
        """Have the processes of a job save what there is and end; return whether they are withdrawn.

        Args:
            course: whose.
            gang: what there is of it.
            reason: why.
            patience_s: after so long they are withdrawn all the same.
        """
        now_s = self._context.elapsed()
        if gang.charter is None or course.stopped:
            return True
        if course.stopping_s is None:
            course.stopping_s = now_s
        if not gang.charter.stop:
            await self._gangs.stop(gang.charter, reason)
        said = gang.report is not None and (gang.report.stopped or bool(gang.report.failed))
        if gang.trains and not said and now_s - course.stopping_s < patience_s:
            return False
        await self._gangs.withdraw(course.job.id)
        course.stopped = True
        return True

    def _is_left(self, job: str) -> bool:
        """Whether a process of the job is placed, or told of by a worker."""
        names = (ranks_of(job), control_of(job))
        return any(self._state.placed(name, internal=True) or self._state.instances_of(name) for name in names)

    async def write(self, course: TrainingCourse, job: Job) -> bool:
        """Write the job as it is now; False: its owner was faster, and it is to be looked at again."""
        held = await self._context.records.write(course.held, job, None, self._context.epoch)
        if held is None:
            course.again = True
            return False
        if held.job.state is not course.job.state:
            log.info("training job", extra={"job": job.id, "state": job.state, "reason": job.reason})
        course.held = held
        return True
