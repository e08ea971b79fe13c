"""What the leading scheduler does with jobs: all its parts, put together for a term."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from modelyard.errors import AbortedError
from modelyard.jobs.job import Job
from modelyard.queue import Caps
from modelyard.session import Term
from modelyard_scheduler.jobs.figures import Figures
from modelyard_scheduler.jobs.forgetting import EVERY_S, Forgetting
from modelyard_scheduler.jobs.holds import JobHolds
from modelyard_scheduler.jobs.loading import FindVersion, Loading
from modelyard_scheduler.jobs.office import Depots, Office
from modelyard_scheduler.jobs.preparation import Planning, Preparation
from modelyard_scheduler.jobs.records import model_of
from modelyard_scheduler.jobs.recovery import Recovery
from modelyard_scheduler.jobs.repetition import every
from modelyard_scheduler.jobs.rounds import Rounds
from modelyard_scheduler.jobs.settlement import Settlement
from modelyard_scheduler.jobs.shift import Shift
from modelyard_scheduler.jobs.stewardship import Stewardship
from modelyard_scheduler.jobs.wishes import Wishes
from modelyard_scheduler.observer import refuses
from modelyard_scheduler.state import State

log = logging.getLogger(__name__)

LISTEN_S, SWEEP_S, DEPTHS_S = 0.0, 1.0, 2.0


@dataclass(frozen=True)
class Means:
    """Whom the leader asks, beside where jobs are.

    Attributes:
        state: of the cluster, as etcd has it.
        planner: opens datasets.
        find_version: asks the registry.
    """

    state: State
    planner: Planning
    find_version: FindVersion


class Supervision:
    """Looks after all jobs while its replica leads."""

    def __init__(
        self,
        replica: str,
        depots: Depots,
        means: Means,
        figures: Figures,
        caps: Caps = Caps(),  # noqa: B008 (a frozen value)
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`replica`: its name, which nobody else has; `clock`: seconds since the epoch."""
        self._replica = replica
        self._depots = depots
        self._means = means
        self._figures = figures
        self._caps = caps
        self._clock = clock

    async def run(self, term: Term) -> None:
        """Look after jobs until cancelled, which whoever holds the term does when it is over."""
        try:
            await self._serve(Office(self._depots, term, self._replica, self._caps, self._clock, time.monotonic))
        except* AbortedError:
            log.warning("another scheduler looks after jobs", extra={"epoch": term.epoch})
            await asyncio.Event().wait()
        finally:
            self._figures.clear()

    async def _serve(self, office: Office) -> None:
        holds, wishes = JobHolds(office), Wishes(office)
        shift = self._shift(office, holds, wishes)
        recovery = Recovery(office.queue, lambda: self._means.state.workers.items, refuses, self._figures)
        async with asyncio.TaskGroup() as group:
            group.create_task(every(LISTEN_S, "tasks that end", shift.listen))
            group.create_task(every(DEPTHS_S, "depths of the queue", self._measure))
            group.create_task(every(EVERY_S, "jobs to be forgotten", Forgetting(office, holds).go))
            group.create_task(every(SWEEP_S, "wishes of jobs", shift.sweep))
            group.create_task(recovery.run())
            group.create_task(shift.run(group))

    def _shift(self, office: Office, holds: JobHolds, wishes: Wishes) -> Shift:
        loading = Loading(self._means.state, wishes, self._means.find_version, office.elapsed)
        rounds = Rounds(office, holds, loading.ready, self._note_retries)
        stewardship = Stewardship(office, rounds, Settlement(office, holds, rounds, wishes), loading)
        preparation = Preparation(office, holds, wishes, loading, self._means.planner)
        return Shift(office, stewardship, preparation, wishes, self._figures)

    def _note_retries(self, job: Job, attempts: int) -> None:
        self._figures.retried[job.tenant, str(model_of(job))] += attempts

    async def _measure(self) -> None:
        self._figures.depths = await self._depots.queue.depths()
