"""A round of a job that is RUNNING or PAUSED: what has ended, what follows from that, what is to be executed next.

Each step can be repeated, and whoever goes on after any of them comes to the same: tasks are queued after the plan that
has them was written, and again by a leader that does not know whether they were.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from modelyard.errors import PASSING, ExhaustedError, NotFoundError, PreconditionError
from modelyard.jobs.job import Job, Progress
from modelyard.jobs.lifecycle import advance, moved
from modelyard.jobs.planning import DEFAULT_SIZING, Pace, Plan, extend, missing_tasks
from modelyard.jobs.speculation import Running, second_attempts
from modelyard.jobs.states import Actor, JobState
from modelyard.jobs.tasks import TaskSpec
from modelyard.names import ModelVersion
from modelyard.queue import InFlight, Task
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.outcomes import PAGE
from modelyard_scheduler.jobs.records import model_of

log = logging.getLogger(__name__)

PROGRESS_S = 1.0
"""So often progress is written at most."""
MOST_RETRIED = 200
"""Dead letters that are queued again in a round."""
MOST_RUNNING = 100
"""Tasks in flight of which it is looked who has them: those that are so the longest."""
MOST_UNHELD, UNHELD_S = 1000, 600.0
"""Chunks of results are held when there are so many more, or so much later. Workers hold them for a day."""
MOST_PACES = 1000
"""Models whose speed is remembered from job to job."""
UNKNOWN_COST, LEAST_COST, MOST_COST = 0.1, 0.01, 10.0
"""What a task counts in its tenant's share: 1 is one of the usual duration."""

Ready = Callable[[ModelVersion], Collection[str]]
"""The workers that have a version READY."""


class Rounds:
    """Rounds of jobs."""

    def __init__(
        self, context: LeaderContext, holds: JobHolds, ready: Ready, retried: Callable[[Job, int], None]
    ) -> None:
        """`retried` is told how often tasks of a job had to be attempted again."""
        self._context = context
        self._holds = holds
        self._ready = ready
        self._retried = retried
        self._paces: dict[ModelVersion, float] = {}

    async def go(self, course: Course) -> None:
        """Do all there is to do now.

        Raises:
            UnavailableError: Redis or etcd is away; what was not done is done by a later round.
            AbortedError: another one leads.
            NotFoundError: the job is forgotten.
        """
        with contextlib.suppress(PreconditionError):  # the queue takes no tasks of it: it is looked why
            await self._retry(course)
            await self.collect(course)
            await self.enqueue(course)
        await self._follow(course)
        if course.again or course.lost:
            return
        running = await self._look(course)
        await self._proceed(course)
        await self.enqueue(course)
        await self._speculate(course, running)

    async def _retry(self, course: Course) -> None:
        """Have those executed again that the owner wants to be."""
        names = course.job.retrying[:MOST_RETRIED]
        for name in names:
            with contextlib.suppress(NotFoundError):  # a name of no task
                await self._context.queue.retry_dead(course.job.id, name, self._context.epoch)
                course.revive(TaskSpec.parse(name))  # also where it was queued by a call whose answer did not come
        if names:
            await self.write(course, replace(course.job, retrying=course.job.retrying[len(names) :]))

    async def collect(self, course: Course) -> None:
        """Take what has ended since the last time, and hold its results once in a while."""
        page = None
        while page is None or len(page) == PAGE:
            page = await self._context.queue.ended(course.job.id, course.outcomes.last, PAGE)
            if retries := sum(course.take(one.status) for one in page):
                self._retried(course.job, retries)
            course.outcomes.last = page[-1].number if page else course.outcomes.last
        course.lost = course.lost or course.behind
        await self._hold(course)

    async def _hold(self, course: Course) -> None:
        """While etcd is away it is left for later: there is a day's time for it."""
        now_s = self._context.elapsed()
        if len(course.unheld) >= MOST_UNHELD or (course.unheld and now_s - course.held_s >= UNHELD_S):
            with contextlib.suppress(*PASSING):
                await self._holds.hold_results(course.job, course.unheld)
                course.unheld, course.held_s = [], now_s

    async def enqueue(self, course: Course) -> None:
        """Queue what is not known to be; as much as there is room for."""
        while names := list(course.unqueued)[:PAGE]:
            tasks = [self._task(course, course.unqueued[name]) for name in names]
            try:
                found = await self._context.queue.enqueue(course.job.id, tasks, self._context.caps, self._context.epoch)
            except ExhaustedError as error:
                log.info("tasks wait for room", extra={"job": course.job.id, "reason": str(error)})
                return
            course.queue(names[: len(found)])
            if len(found) < len(names):
                return

    def _task(self, course: Course, task: TaskSpec) -> Task:
        seconds = task.rows * course.tally.cost.seconds_per_row
        cost = min(max(seconds / DEFAULT_SIZING.target_s, LEAST_COST), MOST_COST) if seconds else UNKNOWN_COST
        return Task(task.id, reply=self._context.replica, cost=cost)

    async def _follow(self, course: Course) -> None:
        """Have the queue do what the record says, whoever did not come to tell it."""
        job, queue = course.job, self._context.queue
        status = await queue.job(job.id)
        course.lost = course.ask(status.counts) or course.lost
        wanted = "paused" if job.state is JobState.PAUSED else "running"
        if status.state == wanted or course.lost:
            return
        if (await self._context.records.read(job.id)).revision != course.held.revision:
            course.again = True  # the queue is ahead of what was read
        elif status.state == "cancelled":
            failed = moved(job, JobState.FAILED, Actor.LEADER, self._context.clock(), "its tasks were cancelled")
            await self.write(course, failed)
            course.again = True
        else:
            await (queue.pause if wanted == "paused" else queue.resume)(job.id)

    async def _look(self, course: Course) -> list[InFlight]:
        """Who executes what; looked at as often as progress is written."""
        if not course.counts.in_flight:
            course.workers = ()
            return []
        if self._context.elapsed() - course.looked_s < PROGRESS_S:
            return []
        course.looked_s = self._context.elapsed()
        running = await self._context.queue.running(course.job.id, MOST_RUNNING)
        course.workers = tuple(sorted({worker for one in running for worker in one.workers}))
        return running

    async def _proceed(self, course: Course) -> None:
        """Write what becomes of the job, and what is to be executed next."""
        now_s = self._context.clock()
        course.observe(now_s)
        told = replace(course.job, progress=course.progress(), usage=course.tally.usage)
        job = advance(told, now_s)
        plan = self._extended(course) if job.state is JobState.RUNNING else course.plan
        moves, grows = job.state is not course.job.state, plan != course.plan
        if moves or grows or self._is_told(course, job.progress):
            await self.write(course, job, plan if grows else None)
            course.again = course.again or moves

    def _is_told(self, course: Course, found: Progress) -> bool:
        """Whether progress is written: if there is any, and not too often."""
        due = self._context.elapsed() - course.written_s >= PROGRESS_S
        return due and _lasting(found) != _lasting(course.job.progress)

    def _extended(self, course: Course) -> Plan:
        workers = max(len(self._ready(model_of(course.job))), 1)
        queued = course.counts.queued + len(course.unqueued)
        return extend(course.plan, self.pace(course), missing_tasks(queued, workers))

    def pace(self, course: Course) -> Pace:
        """What the sizes of its next tasks follow from: of an earlier job's, until rows of it have been executed."""
        model = model_of(course.job)
        if known := course.tally.cost.seconds_per_row:
            self._paces = {**dict(list(self._paces.items())[-MOST_PACES:]), model: known}
        return Pace(known or self._paces.get(model, 0.0), max(len(self._ready(model)), 1))

    async def write(self, course: Course, job: Job, plan: Plan | None = None) -> bool:
        """Write the job as it is now; False: its owner was faster, and it is to be looked at again."""
        held = await self._context.records.write(course.held, job, plan, self._context.epoch)
        if held is None:
            course.again = True
            return False
        course.write(held)
        course.written_s = self._context.elapsed()
        return True

    async def _speculate(self, course: Course, running: list[InFlight]) -> None:
        """Late in a job, let who is idle try what takes others too long."""
        if not running or course.job.state is not JobState.RUNNING or not course.plan.whole:
            return
        if course.counts.queued or course.unqueued:
            return
        idle = set(self._ready(model_of(course.job))) - set(course.workers)
        slow = [Running(TaskSpec.parse(one.task), one.age_s, one.attempts) for one in running]
        for task in second_attempts(slow, course.tally.cost.seconds_per_row, len(idle)):
            if await self._context.queue.speculate(course.job.id, task.id, self._context.epoch):
                log.info("second attempt", extra={"job": course.job.id, "task": task.id})


def _lasting(progress: Progress) -> Progress:
    """Without what changes by itself as time goes by."""
    return replace(progress, rows_per_s=0.0, estimated_end_s=0.0)
