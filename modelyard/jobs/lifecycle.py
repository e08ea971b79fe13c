"""What becomes of a job by its owner's wishes and by its progress. Each function returns the job as it is then."""

from __future__ import annotations

from dataclasses import replace

from modelyard.errors import PreconditionError
from modelyard.jobs.job import Job
from modelyard.jobs.states import ENDED, TRANSITIONS, Actor, JobState, allowed
from modelyard.jobs.training_progress import TrainingProgress

_WAITING = (JobState.QUEUED, JobState.PLANNING)
_OPEN = (*_WAITING, JobState.RUNNING, JobState.PAUSED)


def moved(job: Job, target: JobState, by: Actor, now_s: float, reason: str = "") -> Job:
    """The job in another state.

    Raises:
        PreconditionError: the table of transitions does not have it.
    """
    if not allowed(job.state, target, by):
        raise PreconditionError(_refusal(job, target, by))
    return replace(
        job,
        state=target,
        reason=reason,
        start_time_s=job.start_time_s or (now_s if target is JobState.RUNNING else 0.0),
        end_time_s=now_s if target in ENDED else 0.0,
    )


def _refusal(job: Job, target: JobState, by: Actor) -> str:
    sources = [t.source for t in TRANSITIONS if (t.target, t.by) == (target, by)]
    return f"job {job.id}: expected it {' or '.join(sources)} to become {target}, it is {job.state}"


def pause(job: Job, now_s: float) -> Job:
    """What PauseJob makes of it; it may be PAUSED already. PreconditionError: there is nothing left to be begun."""
    return job if job.state is JobState.PAUSED else moved(job, JobState.PAUSED, Actor.OWNER, now_s)


def resume(job: Job, now_s: float) -> Job:
    """What ResumeJob makes of it: nothing, if it is on its way. PreconditionError: it is neither that nor PAUSED."""
    if job.state in {*_WAITING, JobState.RUNNING}:
        return job
    if job.state is not JobState.PAUSED:
        raise PreconditionError(f"job {job.id}: expected it PAUSED to be resumed, it is {job.state}")
    return moved(job, JobState.RUNNING if job.start_time_s else JobState.QUEUED, Actor.OWNER, now_s)


def cancel(job: Job, now_s: float) -> Job:
    """What CancelJob makes of it; it may be cancelled already. PreconditionError: it has ended otherwise."""
    if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
        return job
    return moved(job, JobState.CANCELLING, Actor.OWNER, now_s)


def revive(job: Job, rows: int, now_s: float) -> Job:
    """What RetryDeadLetters makes of it, for so many rows. A deadline that it has kept does not count again.

    Raises:
        PreconditionError: it is neither under way nor PARTIALLY_SUCCEEDED.
    """
    left = replace(job, progress=replace(job.progress, dead_rows=job.progress.dead_rows - rows))
    if job.state in {JobState.RUNNING, JobState.PAUSED}:
        return left
    if job.state is not JobState.PARTIALLY_SUCCEEDED:
        expected = f"{JobState.RUNNING}, {JobState.PAUSED} or {JobState.PARTIALLY_SUCCEEDED}"
        raise PreconditionError(f"job {job.id}: expected it {expected} to retry its dead letters, it is {job.state}")
    return moved(replace(left, spec=replace(job.spec, deadline_s=0.0)), JobState.RUNNING, Actor.OWNER, now_s)


def advance(job: Job, now_s: float) -> Job:
    """What its progress and the clock make of a job: the leader calls it after each change of either."""
    if job.state in _OPEN and (reason := _failure(job, now_s)):
        return moved(job, JobState.FAILED, Actor.LEADER, now_s, reason)
    all_ended = job.progress.counted and job.progress.left_rows == 0
    if job.state in {JobState.RUNNING, JobState.PAUSED} and all_ended and not job.retrying:
        return moved(job, JobState.FINISHING, Actor.LEADER, now_s)
    return job


def _failure(job: Job, now_s: float) -> str:
    """Why it has failed; empty if it has not."""
    dead, most = job.progress.dead_rows, job.spec.max_dead_rows
    if dead > most:
        return f"{dead} rows were given up, at most {most} are allowed"
    if 0.0 < job.spec.deadline_s <= now_s - job.create_time_s:
        return f"its deadline of {job.spec.deadline_s:g} s has passed: {_done(job)}"
    return ""


def _done(job: Job) -> str:
    if job.spec.training is None:
        rows = job.progress.rows if job.progress.counted else "not yet counted"
        return f"{job.progress.done_rows} of {rows} rows were done"
    training = job.progress.training or TrainingProgress()
    steps = f"{training.step} of {training.steps} steps" if training.steps else f"{training.step} steps"
    return f"{steps} were done"


def conclude(job: Job, now_s: float) -> Job:
    """How a job has ended that is FINISHING and whose results are in order."""
    dead, rows = job.progress.dead_rows, job.progress.rows
    if not dead:
        return moved(job, JobState.SUCCEEDED, Actor.LEADER, now_s)
    target = JobState.PARTIALLY_SUCCEEDED if job.progress.done_rows else JobState.FAILED
    return moved(job, target, Actor.LEADER, now_s, f"{dead} of {rows} rows were given up")
