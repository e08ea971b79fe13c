"""The model of a job that is under way: wished for as widely as it is of use, and whether it can be had at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from modelyard.catalogue import Lifecycle, Version
from modelyard.deployment import InstanceState
from modelyard.errors import PASSING, NotFoundError, PreconditionError
from modelyard.jobs.planning import Pace
from modelyard.names import ModelVersion
from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.leader.wishes import Wishes
from modelyard_scheduler.jobs.records import model_of
from modelyard_scheduler.outlook import hopeless
from modelyard_scheduler.state import State

ASKED_S = 10.0
"""So often the registry is asked for a version."""
PATIENCE_S = 60.0
"""A version that no worker can run is given so long: workers come and go."""

FindVersion = Callable[[str, str], Awaitable[Version]]


class Loading:
    """Looks after the models of jobs."""

    def __init__(self, state: State, wishes: Wishes, find_version: FindVersion, clock: Callable[[], float]) -> None:
        self._state = state
        self._wishes = wishes
        self._find_version = find_version
        self._clock = clock
        self._asked: dict[ModelVersion, tuple[float, Version]] = {}
        self._hopeless: dict[ModelVersion, tuple[float, float]] = {}
        """Since when a version is that, and when it was last found so."""

    def ready(self, model: ModelVersion) -> list[str]:
        """The workers that have it READY."""
        return [i.worker for i in self._state.instances_of(model) if i.state is InstanceState.READY]

    async def look(self, course: Course, pace: Pace) -> str:
        """Wish for as many workers as would have something to do; return why it cannot be executed, empty if it can.

        While the registry or etcd is away nothing is known against it.
        """
        model = model_of(course.job)
        try:
            with suppress(*PASSING):
                version = await self.version(model)
                await self._wishes.want(course.job, version, self._useful(course, pace))
        except (NotFoundError, PreconditionError) as error:
            return error.message
        return self._outlook(model)

    async def version(self, model: ModelVersion) -> Version:
        """What the registry said of it a moment ago.

        Raises:
            NotFoundError: there is none.
            PreconditionError: it is deleted.
            UnavailableError: no registry answers.
        """
        now_s = self._clock()
        asked_s, version = self._asked.get(model, (0.0, None))
        if version is None or now_s - asked_s >= ASKED_S:
            version = await self._find_version(model.model, model.version)
            self._asked = {m: found for m, found in self._asked.items() if now_s - found[0] < ASKED_S}
            self._asked[model] = now_s, version
        if version.state is Lifecycle.DELETED:
            raise PreconditionError(f"{model}: it is deleted")
        return version

    def _useful(self, course: Course, pace: Pace) -> int:
        """How many workers would have a task. One finds out what a row costs."""
        left = course.plan.rows - course.tally.done_rows - course.tally.dead_rows
        if not pace.seconds_per_row:
            return 1
        tasks = -(-left // Pace(pace.seconds_per_row, 1, pace.sizing).rows_a_task(left)) if left > 0 else 0
        return max(1, min(tasks, len(self._state.workers.items)))

    def _outlook(self, model: ModelVersion) -> str:
        """Why no worker can run it, once that has been so for long enough."""
        internal = None if self.ready(model) else self._state.internal().get(model)
        reason = hopeless(internal, self._state) if internal else ""
        now_s = self._clock()
        self._hopeless = {m: found for m, found in self._hopeless.items() if now_s - found[1] < PATIENCE_S}
        if not reason:
            self._hopeless.pop(model, None)
            return ""
        since_s, _ = self._hopeless.get(model, (now_s, now_s))
        self._hopeless[model] = since_s, now_s
        return f"{model}: {reason}" if now_s - since_s >= PATIENCE_S else ""
