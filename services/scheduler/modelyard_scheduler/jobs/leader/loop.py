"""The leader's loop over jobs: which of them is looked at now.

A job is looked at when a task of it has ended, when its record has changed, and otherwise every second while tasks of
it are executed, every five while none is. To find out which records have changed, all of them are read in turn, so many
at a time that one look costs the same however many jobs there are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from typing import Any

from modelyard.backoff import Backoff
from modelyard.errors import PASSING, AbortedError, NotFoundError
from modelyard.jobs.states import JobState
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.course import QUIET_S
from modelyard_scheduler.jobs.leader.kinds import Kinds, Remembered
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.preparation import Preparation
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.records import Held

log = logging.getLogger(__name__)

LOOK_S, SHORTEST_S = 0.5, 0.05
"""Between two looks, and between two for which something woke us."""
MOST_READ = 200
"""Records of a look, beside those of jobs that woke us."""
MOST_AT_ONCE = 16
"""Jobs that are worked on beside each other; planning apart."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 10.0
FAULTY_S = 30.0
"""A job whose treatment fails as nobody foresaw is left alone for so long, for the sake of the others."""


@dataclass
class Followed:
    """A job that has not ended, or is not settled; times by the context's `elapsed`."""

    id: str
    held: Held | None = None
    course: Remembered | None = None
    task: asyncio.Task[None] | None = None
    read_s: float = -math.inf
    worked_s: float = -math.inf
    not_before_s: float = -math.inf
    delays: Backoff | None = None

    @property
    def busy(self) -> bool:
        """Whether it is worked on now."""
        return self.task is not None and not self.task.done()

    @property
    def is_new(self) -> bool:
        """Whether its record was not read since it was changed by somebody else, as far as is known."""
        seen = self.course.held.revision if self.course else 0
        return self.held is not None and self.held.revision != seen

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to look at it again."""
        return now_s - self.worked_s >= (self.course.pause_s if self.course else QUIET_S)


class JobLoop:
    """Looks after all jobs for one term."""

    def __init__(
        self, context: LeaderContext, kinds: Kinds, preparation: Preparation, wishes: Wishes, figures: Figures
    ) -> None:
        self._context = context
        self._kinds = kinds
        self._preparation = preparation
        self._wishes = wishes
        self._figures = figures
        self._jobs: dict[str, Followed] = {}
        self._woken: set[str] = set()
        self._bell = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._looked_s = -math.inf
        self._active: set[str] | None = None

    def wake(self, jobs: Iterable[str]) -> None:
        """Have these looked at at once."""
        self._woken.update(jobs)
        self._bell.set()

    async def listen(self) -> None:
        """Wait for tasks that end, and wake their jobs."""
        await self._hear(self._context.replica)

    async def welcome(self) -> None:
        """Wait for jobs that are submitted, and look at them."""
        await self._hear("")

    async def _hear(self, name: str) -> None:
        names = await self._context.queue.replies(name, QUIET_S)
        if names:
            self.wake({name.job for name in names})

    async def sweep(self) -> None:
        """Have wishes of jobs end that are not looked after."""
        if self._active is not None:
            await self._wishes.sweep(self._active)
            await self._kinds.sweep(self._active)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Look again and again until cancelled; what is done for a job is a task of the group."""
        failing = False
        while True:
            self._bell.clear()
            try:
                await self.look(group)
                failing = False
            except PASSING as error:
                if not failing:
                    log.warning("jobs wait", extra={"reason": str(error)})
                failing = True
            await asyncio.sleep(LOOK_S if failing else SHORTEST_S)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._bell.wait()
            except TimeoutError:
                continue

    async def look(self, group: asyncio.TaskGroup) -> None:
        """Look once."""
        now_s = self._context.elapsed()
        woken, self._woken = self._woken, set()
        turn: list[str] = []
        try:
            if now_s - self._looked_s >= LOOK_S or not woken <= self._jobs.keys():
                turn = await self._take_turn()
                self._looked_s = now_s
            names = sorted((woken & self._jobs.keys()) | set(turn))
            found = await self._context.records.read_all(names)
        except PASSING:
            self._woken |= woken
            raise
        for held in found:
            self._consider(held, woken, group)
        waiting = [one.held.job for one in self._jobs.values() if one.held and now_s >= one.not_before_s]
        self._preparation.start(waiting, partial(self._prepare, group))

    def _prepare(self, group: asyncio.TaskGroup, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def prepare() -> None:
            await work
            self.wake([name])

        return group.create_task(self._guarded(self._jobs[name], prepare()))

    async def _take_turn(self) -> list[str]:
        """Which records are read now: new ones, and those that were read longest ago."""
        self._active = active = set(await self._context.queue.active())
        for gone in [one for name, one in self._jobs.items() if name not in active and not one.busy]:
            self._preparation.stop(gone.id)
            del self._jobs[gone.id]
        for name in active - self._jobs.keys():
            self._jobs[name] = Followed(name)
        self._figures.states = Counter(one.held.job.state.value for one in self._jobs.values() if one.held)
        chosen = nsmallest(MOST_READ, self._jobs.values(), key=lambda one: one.read_s)
        for one in chosen:
            one.read_s = self._context.elapsed()
        return [one.id for one in chosen]

    def _consider(self, held: Held, woken: Collection[str], group: asyncio.TaskGroup) -> None:
        one, now_s = self._jobs[held.job.id], self._context.elapsed()
        if one.busy:
            self._woken |= {one.id} & set(woken)
            return
        one.held = held
        if held.job.ended or held.job.state is JobState.CANCELLING:
            self._preparation.stop(one.id)
        if now_s >= one.not_before_s and (one.id in woken or one.is_new or one.is_due(now_s)):
            one.worked_s = now_s
            one.task = group.create_task(self._guarded(one, self._work(one, held)))

    async def _work(self, one: Followed, held: Held) -> None:
        async with self._room:
            one.course = await self._kinds.go(held, one.course)
        if one.course and (one.course.again or one.course.lost):
            self.wake([one.id])

    async def _guarded(self, one: Followed, work: Coroutine[Any, Any, None]) -> None:
        """Do something for a job; what fails is tried again later, and keeps nobody else."""
        try:
            await work
            one.delays = None
        except NotFoundError:
            one.course = None  # it was forgotten; if it is active all the same it is read again
        except AbortedError:
            raise
        except PASSING as error:
            one.delays = one.delays or Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)
            self._leave(one, one.delays.next())
            log.warning("job waits", extra={"job": one.id, "reason": str(error)})
        except Exception:
            one.course = None
            self._leave(one, FAULTY_S)
            log.exception("job left alone for a while", extra={"job": one.id})

    def _leave(self, one: Followed, delay_s: float) -> None:
        one.not_before_s = self._context.elapsed() + delay_s
        one.worked_s = -math.inf
