"""What happens to a job, told to those who watch it.

Who watches looks from the last event that it was told on. All who are at the same event share one look: a hundred
watchers of a job cost Redis what one does. A look waits for the next event, on a connection of its own; if too many do,
it merely comes back later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from modelyard.codec import decode
from modelyard.errors import InvalidInputError
from modelyard.jobs.job import EventKind as Kind
from modelyard.jobs.job import Job, JobEvent, Progress, TaskNews
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.jobs.training_progress import Measurement
from modelyard.names import check_name
from modelyard.queue import Event, JobQueue
from modelyard_scheduler.jobs.records import Records

LOOK_S = 1.0
"""So long a look waits, and so far apart PROGRESS is told."""
MOST_WAITING = 50
_TASKS = {
    "started": Kind.TASK_STARTED,
    "done": Kind.TASK_DONE,
    "retry": Kind.TASK_RETRY,
    "recovered": Kind.TASK_RECOVERED,
    "dead": Kind.TASK_DEAD,
    "retried": Kind.TASK_REVIVED,
}
_BY_WORKER = {Kind.TASK_STARTED, Kind.TASK_RECOVERED}
"""Whose detail is the worker; that of others is the reason."""


@dataclass(frozen=True)
class Look:
    """What was seen of a job: events, then the job, then how many events there are.

    Attributes:
        number: of the last event that was seen.
        job: as it was after that event, or later.
        last: the number of the last event there was then. If the job had ended, its end is not after that.
        events: those that came next, perhaps not all; with the outcomes of tasks that are done.
    """

    number: int
    job: Job
    last: int
    events: tuple[tuple[Event, Outcome | None], ...] = ()


class Watching:
    """Watches of jobs."""

    def __init__(self, queue: JobQueue, records: Records, clock: Callable[[], float], look_s: float = LOOK_S) -> None:
        """`clock`: seconds since the epoch."""
        self._queue = queue
        self._records = records
        self._clock = clock
        self._look_s = look_s
        self._looks: dict[tuple[str, int], asyncio.Task[Look]] = {}

    async def close(self) -> None:
        """End the looks that are under way."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def watch(self, job: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """Tell what happens from an event on, until the job has ended and that was told.

        Args:
            job: its id.
            after: the last event that was seen. 0, and where what came after it is not kept any more: the whole job.

        Raises:
            InvalidInputError: the number is none of an event.
            NotFoundError: there is no such job, or it is forgotten meanwhile.
            UnavailableError: Redis is away: watch again, from the last event.
        """
        if after < 0:
            raise InvalidInputError(f"after_event: expected the number of an event, got {after}")
        look = await self._now(check_name("job", job))
        told = _Told(self._clock, self._look_s, after if after <= look.number else 0)
        for event in told.beginning(look):
            yield event
        while not (look.job.ended and told.number >= look.last):
            look = await self._next(job, told.number)
            for event in told.news(look):
                yield event

    async def _now(self, job: str) -> Look:
        number = (await self._queue.job(job)).event
        return await self._seen(job, number)

    async def _seen(self, job: str, number: int, events: tuple[tuple[Event, Outcome | None], ...] = ()) -> Look:
        held = await self._records.read(job)
        return Look(number, held.job, (await self._queue.job(job)).event, events)

    async def _next(self, job: str, after: int) -> Look:
        """What comes after an event, shared by all who have come so far."""
        key = job, after
        if key not in self._looks:
            self._looks[key] = asyncio.create_task(self._look(job, after))
            self._looks[key].add_done_callback(partial(self._forget, key))
        # Who goes must not take it along: others may wait for it.
        return await asyncio.shield(self._looks[key])

    def _forget(self, key: tuple[str, int], look: asyncio.Task[Look]) -> None:
        del self._looks[key]
        if not look.cancelled():
            look.exception()  # perhaps all who wanted to know it have gone

    async def _look(self, job: str, after: int) -> Look:
        few = len(self._looks) <= MOST_WAITING
        events = await self._queue.events(job, after, self._look_s if few else 0.0)
        if not events and not few:
            await asyncio.sleep(self._look_s)
        outcomes = await self._outcomes(job, [event.task for event in events if event.kind == "done"])
        seen = tuple((event, outcomes.get(event.task) if event.kind == "done" else None) for event in events)
        return await self._seen(job, events[-1].number if events else after, seen)

    async def _outcomes(self, job: str, tasks: Sequence[str]) -> dict[str, Outcome]:
        """Of tasks that are done, unless they were cleared already."""
        found = await self._queue.tasks(job, tasks)
        return {one.task: decode(Outcome, one.result) for one in found if one and one.result}


class _Told:
    """What one watcher was told: up to which event, and how far the job was."""

    def __init__(self, clock: Callable[[], float], every_s: float, number: int) -> None:
        self._clock = clock
        self._every_s = every_s
        self._progress: tuple[Progress, str] | None = None
        self._progress_s = 0.0
        self._measured: tuple[Measurement, ...] = ()
        self.number = number

    def beginning(self, look: Look) -> list[JobEvent]:
        """The whole job, unless this one goes on from an event."""
        return [] if self.number else [self._snapshot(look)]

    def news(self, look: Look) -> list[JobEvent]:
        """What comes next."""
        if look.events and look.events[0][0].number > self.number + 1:
            return [self._snapshot(look)]
        told = [_told(event, outcome, look.job) for event, outcome in look.events]
        found = [self._measure(event) for event in told if event]
        self.number = look.number
        if any(event.job for event in found):
            self._note(look.job)
        return [*found, *self._advance(look.job)]

    def _snapshot(self, look: Look) -> JobEvent:
        self.number = look.number
        self._note(look.job)
        return self._measure(JobEvent(Kind.SNAPSHOT, look.number, self._clock(), job=look.job))

    def _measure(self, event: JobEvent) -> JobEvent:
        """The event with what it has measured since the last one."""
        if event.job is None or event.job.measurements == self._measured:
            return event
        new = tuple(one for one in event.job.measurements if one not in self._measured)
        self._measured = event.job.measurements
        return replace(event, measurements=new)

    def _advance(self, job: Job) -> list[JobEvent]:
        """PROGRESS, if there is any, and the last is long enough ago."""
        same = (job.progress, job.reason) == self._progress and job.measurements == self._measured
        if same or self._clock() - self._progress_s < self._every_s:
            return []
        self._note(job)
        return [self._measure(JobEvent(Kind.PROGRESS, self.number, self._clock(), job=job))]

    def _note(self, job: Job) -> None:
        self._progress, self._progress_s = (job.progress, job.reason), self._clock()


def _told(event: Event, outcome: Outcome | None, job: Job) -> JobEvent | None:
    """An event of the queue as it is told; None of those that are the queue's own."""
    if event.kind == "state":
        return JobEvent(Kind.STATE, event.number, event.at_s, job=_entered(job, JobState(event.detail)))
    if event.kind not in _TASKS:
        return None
    kind, task = _TASKS[event.kind], TaskSpec.parse(event.task)
    worker, reason = (event.detail, "") if kind in _BY_WORKER else ("", event.detail)
    if outcome:
        kind = Kind.TASK_SPLIT if outcome.parts else kind
        worker, reason = outcome.worker, outcome.reason
    return JobEvent(kind, event.number, event.at_s, task=TaskNews(event.task, task.begin, task.end, worker, reason))


def _entered(job: Job, state: JobState) -> Job:
    """A job when it came into a state: it may have left it since."""
    return job if job.state is state else replace(job, state=state, reason="", end_time_s=0.0)
