"""One job, looked after for as long as a term lasts: what its record says now decides what is done."""

from __future__ import annotations

from dataclasses import replace

from modelyard.errors import DataLossError
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import advance, moved
from modelyard.jobs.states import Actor, JobState
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.loading import Loading
from modelyard_scheduler.jobs.leader.preparation import WAITING
from modelyard_scheduler.jobs.leader.rounds import Rounds
from modelyard_scheduler.jobs.leader.settlement import Settlement
from modelyard_scheduler.jobs.outcomes import Outcomes, outcomes_of
from modelyard_scheduler.jobs.records import Held

UNDER_WAY = (JobState.RUNNING, JobState.PAUSED)


class Steps:
    """Takes jobs a step further."""

    def __init__(
        self, context: LeaderContext, holds: JobHolds, rounds: Rounds, settlement: Settlement, loading: Loading
    ) -> None:
        self._context = context
        self._holds = holds
        self._rounds = rounds
        self._settlement = settlement
        self._loading = loading

    async def go(self, name: str, course: Course | None, revision: int) -> Course | None:
        """Do what there is to do for a job; return what is to be remembered, None if it is settled.

        Args:
            name: of the job.
            course: what was remembered of it.
            revision: of its record, as it was seen last.

        Raises:
            UnavailableError: something is away; later again.
            AbortedError: another one leads.
            NotFoundError: the job is forgotten.
        """
        if course is None or course.lost or course.held.revision != revision:
            course = await self._read(name, course)
        course.again = False
        if course.job.state in WAITING:
            await self._watch_deadline(course)
        elif course.job.state in UNDER_WAY:
            await self._proceed(course)
        elif await self._settlement.go(course):
            return None
        return course

    async def _read(self, name: str, course: Course | None) -> Course:
        """Read the record; begin anew if what is remembered is not of it."""
        held = await self._context.records.read(name)
        if course and not course.lost and (held.plan, held.job.outcomes) == (course.held.plan, course.job.outcomes):
            course.held = held
            return course
        return Course.begin(held, await self._outcomes(held), self._context.clock(), self._context.elapsed())

    async def _outcomes(self, held: Held) -> Outcomes:
        try:
            return await outcomes_of(held, self._context.queue, self._context.backends.source)
        except DataLossError:
            if held.job.ended:
                return Outcomes()  # nothing can be done about it, and whoever asks for results hears it
            await self._context.records.write(held, self._bereft(held.job), None, self._context.epoch)
            raise

    def _bereft(self, job: Job) -> Job:
        """What becomes of a job whose results of before are gone; one that is CANCELLING only has less to keep."""
        reason, left = "its results of before are not in the artifact store any more", replace(job, outcomes=None)
        if job.state is JobState.CANCELLING:
            return replace(left, reason=reason)
        return moved(left, JobState.FAILED, Actor.LEADER, self._context.clock(), reason)

    async def _watch_deadline(self, course: Course) -> None:
        job = advance(course.job, self._context.clock())
        if job.state is not course.job.state:
            await self._rounds.write(course, job)
            course.again = True

    async def _rest(self, course: Course) -> None:
        """Of a job that was paused before it was planned: what it reads is held for as long as that lasts."""
        if not course.rests and await self._holds.is_submitted(course.job):
            await self._holds.hold_input(course.job)
        course.rests = True

    async def _proceed(self, course: Course) -> None:
        if course.held.plan is None:
            await self._rest(course)
        running = course.held.plan is not None and course.job.state is JobState.RUNNING
        if running and (reason := await self._loading.look(course, self._rounds.pace(course))):
            job = moved(course.job, JobState.FAILED, Actor.LEADER, self._context.clock(), reason)
            await self._rounds.write(course, job)
            course.again = True
        else:
            await self._rounds.go(course)
