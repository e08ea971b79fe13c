"""What the leading scheduler does with jobs: all its parts, put together for a term."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from modelyard.errors import AbortedError
from modelyard.jobs.job import Job
from modelyard.queue import Caps
from modelyard.session import Term
from modelyard.tasks import in_own_task
from modelyard_scheduler.jobs.leader import epochs
from modelyard_scheduler.jobs.leader.context import Backends, LeaderContext
from modelyard_scheduler.jobs.leader.expiry import EVERY_S, Expiry
from modelyard_scheduler.jobs.leader.gangs import Gangs
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_scheduler.jobs.leader.kinds import Kinds
from modelyard_scheduler.jobs.leader.leftovers import EVERY_S as LEFT_S
from modelyard_scheduler.jobs.leader.leftovers import Leftovers
from modelyard_scheduler.jobs.leader.loading import FindVersion, Loading
from modelyard_scheduler.jobs.leader.loop import JobLoop
from modelyard_scheduler.jobs.leader.metrics import Figures
from modelyard_scheduler.jobs.leader.preparation import Planning, Preparation
from modelyard_scheduler.jobs.leader.recovery import Recovery
from modelyard_scheduler.jobs.leader.release import Releases, SetAlias
from modelyard_scheduler.jobs.leader.repetition import FAILED_S, every, patiently
from modelyard_scheduler.jobs.leader.reports import Reports
from modelyard_scheduler.jobs.leader.rounds import Rounds
from modelyard_scheduler.jobs.leader.settlement import Settlement
from modelyard_scheduler.jobs.leader.steps import Steps
from modelyard_scheduler.jobs.leader.training import FindArtifact, TrainingSteps
from modelyard_scheduler.jobs.leader.training_rounds import TrainingRounds
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.records import model_of
from modelyard_scheduler.observer import refuses
from modelyard_scheduler.service import Deployments
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

LISTEN_S, SWEEP_S, DEPTHS_S = 0.0, 1.0, 2.0


@dataclass(frozen=True)
class Services:
    """Whom the leader asks, beside where jobs are.

    Attributes:
        state: of the cluster, as etcd has it.
        planner: opens datasets.
        find_version: asks the registry.
        find_artifact: likewise.
        set_alias: likewise.
    """

    state: State
    planner: Planning
    find_version: FindVersion
    find_artifact: FindArtifact
    set_alias: SetAlias


class Supervision:
    """Looks after all jobs while its replica leads."""

    def __init__(
        self,
        replica: str,
        backends: Backends,
        services: Services,
        figures: Figures,
        caps: Caps = Caps(),  # noqa: B008 (a frozen value)
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`replica`: its name, which nobody else has; `clock`: seconds since the epoch."""
        self._replica = replica
        self._backends = backends
        self._services = services
        self._figures = figures
        self._caps = caps
        self._clock = clock

    async def run(self, term: Term) -> None:
        """Look after jobs until cancelled, which whoever holds the term does when it is over."""
        context = LeaderContext(self._backends, term, self._replica, self._caps, self._clock, time.monotonic)
        try:
            await self._lead(context)
        except AbortedError:
            log.warning("another scheduler looks after jobs", extra={"epoch": term.epoch})
            await asyncio.Event().wait()
        finally:
            self._figures.clear()

    async def _lead(self, context: LeaderContext) -> None:
        """Look after jobs until another one leads: AbortedError."""
        while True:
            begun = replace(context, offset=await patiently("leader of jobs", partial(epochs.offset, context)))
            try:
                await in_own_task(self._serve(begun))
            except* AbortedError as refused:
                log.warning("refused", extra={"epoch": begun.epoch, "reason": str(refused.exceptions[0])})
            await patiently("leader of jobs", partial(epochs.raise_offset, begun))
            await asyncio.sleep(FAILED_S)

    async def _serve(self, context: LeaderContext) -> None:
        holds, wishes = JobHolds(context), Wishes(context)
        loop = self._loop_over_jobs(context, holds, wishes)
        recovery = Recovery(context.queue, lambda: self._services.state.workers.items, refuses, self._figures)
        async with asyncio.TaskGroup() as group:
            group.create_task(every(LISTEN_S, "tasks that end", loop.listen))
            group.create_task(every(LISTEN_S, "new jobs", loop.welcome))
            group.create_task(every(DEPTHS_S, "depths of the queue", self._measure))
            group.create_task(every(EVERY_S, "jobs to be forgotten", Expiry(context, holds).go))
            group.create_task(every(SWEEP_S, "wishes of jobs", loop.sweep))
            group.create_task(every(LEFT_S, "holds of unknown jobs", Leftovers(context, holds, Gangs(context)).go))
            group.create_task(recovery.run())
            group.create_task(Reports(context.backends.etcd, loop.wake).run())
            group.create_task(loop.run(group))

    def _loop_over_jobs(self, context: LeaderContext, holds: JobHolds, wishes: Wishes) -> JobLoop:
        loading = Loading(self._services.state, wishes, self._services.find_version, context.elapsed)
        rounds = Rounds(context, holds, loading.ready, self._note_retries)
        steps = Steps(context, holds, rounds, Settlement(context, holds, rounds, wishes), loading)
        preparation = Preparation(context, holds, wishes, loading, self._services.planner)
        gangs = Gangs(context)
        trainings = TrainingRounds(context, holds, gangs, self._releases(context), self._services.state)
        training = TrainingSteps(context, holds, gangs, trainings, self._services.find_artifact)
        return JobLoop(context, Kinds(steps, training), preparation, wishes, self._figures)

    def _releases(self, context: LeaderContext) -> Releases:
        services, fence = self._services, [context.term.fence]
        deployments = Deployments(self._backends.etcd, services.state, services.find_version, fence)
        return Releases(deployments, services.find_version, services.set_alias, context.check_leads)

    def _note_retries(self, job: Job, attempts: int) -> None:
        self._figures.retried[job.tenant, str(model_of(job))] += attempts

    async def _measure(self) -> None:
        self._figures.depths = await self._backends.queue.depths()
