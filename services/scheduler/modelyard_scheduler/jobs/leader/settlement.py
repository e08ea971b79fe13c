"""The end of a job: its outcomes are stored, its end is written down, its tasks leave the queue. In this order.

A job that has FAILED is that at once, and settled afterwards; all others are it when they are settled.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from modelyard.errors import PreconditionError
from modelyard.jobs.found import Stored
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import conclude, moved
from modelyard.jobs.states import Actor, JobState
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.course import Course, chunks_of
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.rounds import Rounds
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.outcomes import packed

_STOPPED = (JobState.CANCELLING, JobState.CANCELLED, JobState.FAILED)


class Settlement:
    """Settles jobs that are FINISHING or CANCELLING, or that have ended."""

    def __init__(self, context: LeaderContext, holds: JobHolds, rounds: Rounds, wishes: Wishes) -> None:
        self._context = context
        self._wishes = wishes
        self._holds = holds
        self._rounds = rounds

    async def go(self, course: Course) -> bool:
        """Do all there is to do; return whether the job is settled.

        Raises:
            UnavailableError: Redis, etcd or the registry is away; later again.
            AbortedError: another one leads.
            NotFoundError: the job is forgotten.
        """
        if course.job.state in _STOPPED:
            await self._context.queue.cancel(course.job.id)
        await self._rounds.collect(course)
        if course.job.state is JobState.FINISHING and course.open:
            await self._finish_anew(course)
            return False
        await self._wishes.end(course.job.id)
        if not await self._write(course):
            return False
        await self._holds.release_uploads(course.job)
        with suppress(PreconditionError):  # its owner has had its dead letters retried meanwhile
            await self._context.queue.clear(course.job.id)
        return True

    async def _finish_anew(self, course: Course) -> None:
        """Redis has forgotten results: their tasks are executed once more."""
        await self._context.queue.resume(course.job.id)
        await self._rounds.enqueue(course)

    async def _write(self, course: Course) -> bool:
        outcomes = await self._stored(course)
        if course.job.ended and outcomes == course.job.outcomes:
            return True
        progress = replace(course.progress(), queued_tasks=0, running_tasks=0, workers=())
        job = replace(course.job, outcomes=outcomes, progress=progress, usage=course.tally.usage)
        return await self._rounds.write(course, _ended(job, self._context.clock()))

    async def _stored(self, course: Course) -> Stored | None:
        """Where its outcomes are; they are put there if they are not."""
        job, done = course.job, course.outcomes.done
        if course.held.plan is None or (job.outcomes and course.settled):
            return job.outcomes
        content = await asyncio.to_thread(packed, done)
        stored = await self._context.backends.store.store(content, len(content), tenant=job.tenant, upload=job.id)
        chunks = [chunk for outcome in done.values() for chunk in chunks_of(outcome)]
        await self._holds.hold_final(job, [*chunks, *stored.chunks])
        course.unheld, course.outcomes.stored = [], len(done)
        return stored


def _ended(job: Job, now_s: float) -> Job:
    if job.state is JobState.FINISHING:
        return conclude(job, now_s)
    if job.state is JobState.CANCELLING:
        return moved(job, JobState.CANCELLED, Actor.LEADER, now_s, job.reason)
    return job
