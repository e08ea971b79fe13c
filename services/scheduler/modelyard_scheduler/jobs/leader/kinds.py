"""The two kinds of jobs: those that execute a model on rows, and those that train one."""

from __future__ import annotations

from collections.abc import Collection

from modelyard_scheduler.jobs.leader.course import Course
from modelyard_scheduler.jobs.leader.steps import Steps
from modelyard_scheduler.jobs.leader.training import TrainingSteps
from modelyard_scheduler.jobs.leader.training_course import TrainingCourse
from modelyard_scheduler.jobs.records import Held

Remembered = Course | TrainingCourse


class Kinds:
    """Takes a job a step further, as its kind is."""

    def __init__(self, batch: Steps, training: TrainingSteps) -> None:
        self._batch = batch
        self._training = training

    async def go(self, held: Held, course: Remembered | None) -> Remembered | None:
        """Do what there is to do for a job; return what is to be remembered, None if it is settled.

        Args:
            held: the job, as it was read last.
            course: what was remembered of it.

        Raises:
            UnavailableError: something is away; later again.
            AbortedError: another one leads.
            NotFoundError: the job is forgotten.
        """
        if held.job.spec.training:
            known = course if isinstance(course, TrainingCourse) else None
            return await self._training.go(held.job.id, known, held.revision)
        return await self._batch.go(held.job.id, course if isinstance(course, Course) else None, held.revision)

    async def sweep(self, active: Collection[str]) -> None:
        """End what is there for jobs that are not active, as far as nothing else does."""
        await self._training.sweep(active)
