"""From QUEUED to RUNNING: a job's dataset is opened and counted, its model wished for, its input held.

Some at a time, in turns between tenants. What was found is kept if its owner pauses the job meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from modelyard.backoff import Backoff
from modelyard.catalogue import Signature
from modelyard.errors import PASSING, AbortedError, ModelyardError
from modelyard.jobs.found import Found
from modelyard.jobs.job import Job
from modelyard.jobs.lifecycle import moved
from modelyard.jobs.planning import Plan
from modelyard.jobs.states import Actor, JobState
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.loading import Loading
from modelyard_scheduler.jobs.leader.turns import Turns
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.planner.process import PARALLEL
from modelyard_scheduler.jobs.records import Held, model_of

log = logging.getLogger(__name__)

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 60.0
WAITING = (JobState.QUEUED, JobState.PLANNING)

Spawn = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Runs what is done for a job beside all else."""


class Planning(Protocol):
    """Who opens datasets: modelyard_scheduler.jobs.planner.process.Planner."""

    async def plan(self, job: Job, signature: Signature) -> tuple[Found, Plan]:
        """Open, bind and count. UnavailableError: later again; ModelyardError: the job cannot be done."""
        ...


class Preparation:
    """Prepares jobs."""

    def __init__(
        self, context: LeaderContext, holds: JobHolds, wishes: Wishes, loading: Loading, planner: Planning
    ) -> None:
        self._context = context
        self._holds = holds
        self._wishes = wishes
        self._loading = loading
        self._planner = planner
        self._turns = Turns()
        self._running: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._delays: dict[str, Backoff] = {}
        self._not_before_s: dict[str, float] = {}

    def start(self, jobs: Iterable[Job], spawn: Spawn) -> None:
        """Begin with those whose turn has come, of all that wait."""
        self._running = {name: found for name, found in self._running.items() if not found[1].done()}
        if len(self._running) >= PARALLEL:
            return
        waiting = [job for job in jobs if job.id not in self._running and self._is_due(job)]
        busy = [tenant for tenant, _ in self._running.values()]
        for job in self._turns.choose(waiting, busy, PARALLEL - len(self._running)):
            self._running[job.id] = job.tenant, spawn(job.id, self._prepare(job.id))

    def _is_due(self, job: Job) -> bool:
        if job.spec.training:
            return False  # it has no rows to be planned
        return job.state in WAITING and self._context.elapsed() >= self._not_before_s.get(job.id, 0.0)

    def stop(self, job: str) -> None:
        """Do no more for a job that is not to be executed any more."""
        self._forget_delays(job)
        if job in self._running:
            self._running[job][1].cancel()

    async def _prepare(self, name: str) -> None:
        held: Held | None = await self._context.records.read(name)
        if held and held.job.state is JobState.QUEUED:
            held = await self._move(held, JobState.PLANNING)
        if held is None or held.job.state is not JobState.PLANNING:
            return
        try:
            found, plan = await self._find(held)
        except AbortedError:
            raise
        except PASSING as error:
            await self._put_off(name, error)
        except ModelyardError as error:
            await self._fail(name, error)
        else:
            await self._begin(name, found, plan)

    async def _move(self, held: Held, target: JobState, reason: str = "") -> Held | None:
        job = moved(held.job, target, Actor.LEADER, self._context.clock(), reason)
        return await self._context.records.write(held, job, None, self._context.epoch)

    async def _find(self, held: Held) -> tuple[Found, Plan]:
        """What there is to do; known already, if it was paused before it had begun."""
        job = held.job
        version = await self._loading.version(model_of(job))
        await self._wishes.want(job, version, 1)
        if job.found and held.plan:
            return job.found, held.plan
        return await self._planner.plan(job, version.signature)

    async def _put_off(self, name: str, error: ModelyardError) -> None:
        delay_s = self._delays.setdefault(name, Backoff(FIRST_DELAY_S, LONGEST_DELAY_S)).next()
        self._not_before_s[name] = self._context.elapsed() + delay_s
        log.warning("planned later", extra={"job": name, "delay_s": round(delay_s, 1), "reason": str(error)})
        held: Held | None = None
        while held is None:
            held = await self._context.records.read(name)
            if held.job.state is JobState.PLANNING:
                held = await self._move(held, JobState.QUEUED, error.message)

    async def _fail(self, name: str, error: ModelyardError) -> None:
        with suppress(*PASSING):  # it is ended with the job's settlement, at the latest
            await self._wishes.end(name)
        held: Held | None = None
        while held is None:
            held = await self._context.records.read(name)
            if held.job.state in {*WAITING, JobState.PAUSED}:
                held = await self._move(held, JobState.FAILED, error.message)

    async def _begin(self, name: str, found: Found, plan: Plan) -> None:
        """Write down what was found, whatever its owner has done meanwhile, unless that was to cancel it."""
        held: Held | None = None
        while held is None:
            held = await self._context.records.read(name)
            if held.job.state not in {*WAITING, JobState.PAUSED}:
                return
            progress = replace(held.job.progress, rows=found.rows)
            job = _begun(replace(held.job, found=found, progress=progress), self._context.clock())
            await self._holds.hold_input(job)  # not before: what is not there must not be held
            held = await self._context.records.write(held, job, held.plan or plan, self._context.epoch)
        self._forget_delays(name)

    def _forget_delays(self, name: str) -> None:
        self._delays.pop(name, None)
        self._not_before_s.pop(name, None)


def _begun(job: Job, now_s: float) -> Job:
    """RUNNING, unless it is PAUSED."""
    if job.state is JobState.QUEUED:
        job = moved(job, JobState.PLANNING, Actor.LEADER, now_s)
    return moved(job, JobState.RUNNING, Actor.LEADER, now_s) if job.state is JobState.PLANNING else job
