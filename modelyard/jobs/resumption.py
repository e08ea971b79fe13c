"""A training that goes on from the checkpoint of another job. Plain values."""

from __future__ import annotations

from dataclasses import replace

from modelyard.errors import InvalidInputError, NotFoundError, PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.training import TrainingSpec


def resumed(job: Job, source: Job | None) -> Job:
    """The job with the checkpoint that it goes on from.

    A position counts samples in the order that data and seed make, so both must be the same, and what is held out.
    Whether the model is, the checkpoint tells when it is loaded. The files of a script go to any script, which makes of
    them what it will; their offset says how late they are among those of one job.

    Args:
        job: that is submitted; its inline rows have been stored.
        source: the one that it names; None: there is none.

    Raises:
        NotFoundError: there is none of that id, for this tenant.
        InvalidInputError: it trains nothing, or something else.
        PreconditionError: it has no checkpoint, or there is nothing left to be done after it.
    """
    spec = job.spec.training
    if spec is None or not spec.resume_from:
        return job
    if source is None or source.tenant != job.tenant:
        raise NotFoundError(f"job: resume_from: no job {spec.resume_from}")
    before = source.spec.training
    if before is None or before.code.is_script != spec.code.is_script:
        kind = "runs a script" if spec.code.is_script else "trains a recipe"
        raise InvalidInputError(f"job: resume_from: expected a job that {kind}, got {source.id}")
    if not spec.code.is_script:
        _check_same(spec, before)
    if source.checkpoint is None:
        raise PreconditionError(f"job: resume_from: job {source.id} has no checkpoint")
    _check_left(spec, source)
    return replace(job, checkpoint=replace(source.checkpoint, offset=0) if spec.code.is_script else source.checkpoint)


def _check_same(spec: TrainingSpec, before: TrainingSpec) -> None:
    if spec.seed != before.seed:
        raise InvalidInputError(f"job: resume_from: expected the same seed, {before.seed}; got {spec.seed}")
    own, other = (replace(one.data, validation=None) for one in (spec, before))
    if own != other:
        raise InvalidInputError(
            "job: resume_from: expected the same data, held out, features and target as that job has; got others"
        )


def _check_left(spec: TrainingSpec, source: Job) -> None:
    found = source.checkpoint
    if found and ((spec.steps and found.step >= spec.steps) or (spec.epochs and found.epoch >= spec.epochs)):
        asked = f"step {spec.steps}" if spec.steps else f"epoch {spec.epochs}"
        raise PreconditionError(
            f"job: resume_from: expected something to be left until {asked}, but the checkpoint of {source.id} has "
            f"{found.step} steps and {found.epoch} epochs"
        )
