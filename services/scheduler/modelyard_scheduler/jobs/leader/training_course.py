"""What the leader remembers of a training job from one round to the next, and what a report makes of the job. Pure.

All of it can be found again: in the record, and below training/{job}/ in etcd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from modelyard.backoff import Backoff
from modelyard.jobs.job import Job, Usage
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import Checkpoint, Measurement, TrainingProgress, TrainingReport
from modelyard.train.control.messages import Saved
from modelyard_scheduler.jobs.leader.course import BUSY_S, QUIET_S
from modelyard_scheduler.jobs.records import Held

STOPPING_S = 0.4
"""Between two rounds of a job whose processes are to stop."""
_UNTOLD = "nobody tells how it goes"
MOST_REASON, MOST_TRACEBACK = 2000, 20_000
"""Characters; of a traceback the end, where the cause is."""


@dataclass
class TrainingCourse:
    """How a training job has gone so far; times by the context's `elapsed`.

    Attributes:
        held: its record as it was read or written last.
        again: there is something to be done at once.
        lost: never so: nothing of it has to be begun anew.
        stopping_s: since when its processes are to stop; None: they are not.
        stopped: whether they were withdrawn since.
        hopeless_s: since when no worker can run it; None: one may.
        delays: of its preparation, while something is away.
        not_before_s: when it is prepared again.
        holds_input: whether what it reads is held, of a job that was paused before it had begun.
        kept: the checkpoints that are held for it, as far as this leader knows, the newest first.
    """

    held: Held
    again: bool = False
    lost: bool = False
    stopping_s: float | None = None
    stopped: bool = False
    hopeless_s: float | None = None
    delays: Backoff | None = None
    not_before_s: float = -math.inf
    holds_input: bool = False
    kept: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        """As it was read or written last."""
        return self.held.job

    @property
    def pause_s(self) -> float:
        """How long until it is looked at again if nothing happens."""
        if self.stopping_s is not None and not self.stopped:
            return STOPPING_S
        return QUIET_S if self.job.state is JobState.PAUSED else BUSY_S


def begun(job: Job) -> Job:
    """A job of whose training nothing is known yet, but the checkpoint of another one that it begins with."""
    spec, first = job.spec.training, job.checkpoint or Checkpoint("", 0)
    if spec is None or job.progress.training:
        return job
    progress = TrainingProgress(
        first.step, spec.steps, first.epoch, spec.epochs, min_workers=spec.min_workers, max_workers=spec.max_workers
    )
    progress = replace(progress, checkpoint_step=first.step)
    return replace(job, progress=replace(job.progress, training=progress))


def told(job: Job, report: TrainingReport, spent_s: float) -> Job:
    """A job as its control process has reported it.

    Args:
        job: RUNNING, or what follows.
        report: the latest.
        spent_s: what its members have spent in all, as far as is reported.
    """
    spec, before = job.spec.training, job.progress.training or TrainingProgress()
    if spec is None:
        return job
    step = max(report.progress.step, before.step)
    progress = replace(
        report.progress,
        step=step,
        steps=report.progress.steps or spec.steps,
        epochs=report.progress.epochs or spec.epochs,
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        checkpoint_step=max(report.progress.checkpoint_step, before.checkpoint_step),
    )
    rows = job.usage.rows + (step - before.step) * spec.batch_size
    usage = Usage(rows, 0, max(job.usage.compute_s, spent_s))
    return replace(
        job,
        progress=replace(job.progress, training=progress, workers=progress.members),
        usage=usage,
        version=report.version or job.version,
        measurements=report.latest or job.measurements,
    )


def spent(job: Job, spent_s: float) -> Job:
    """A job of which that is reported."""
    return replace(job, usage=replace(job.usage, compute_s=max(job.usage.compute_s, spent_s)))


def saved(job: Job, last: Saved | None) -> Job:
    """A job whose last checkpoint is that one."""
    if last is None:
        return job
    position, progress = last.position, job.progress
    checkpoint = Checkpoint(last.name, position.step, position.epoch, position.offset)
    if progress.training:
        progress = replace(progress, training=replace(progress.training, checkpoint_step=position.step))
    return replace(job, checkpoint=checkpoint, progress=progress)


def idle(job: Job) -> Job:
    """A job that nobody trains now."""
    progress = job.progress.training
    if progress is None:
        return job
    still = replace(progress, members=(), samples_per_s=0.0, estimated_end_s=0.0)
    return replace(job, progress=replace(job.progress, training=still, workers=()))


def untold(job: Job, reason: str) -> Job:
    """A job whose control process is not there, so that nobody knows whether its members train; `reason`: why."""
    said, progress = f"{_UNTOLD}: {reason}", job.progress.training
    still = replace(progress, samples_per_s=0.0, estimated_end_s=0.0) if progress else None
    return replace(job, reason=said[:MOST_REASON], progress=replace(job.progress, training=still))


def waits(report: TrainingReport | None) -> str:
    """What those that train wait for, and since when; empty: nothing."""
    if report is None or not report.waits_for:
        return ""
    since = datetime.fromtimestamp(report.waits_since_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{report.waits_for[:MOST_REASON]} (since {since} UTC)"


def is_worth_telling(job: Job, before: Job) -> bool:
    """Whether something has changed but what changes by itself."""
    return _lasting(job) != _lasting(before)


def _lasting(job: Job) -> tuple[TrainingProgress | None, Checkpoint | None, str, str, tuple[Measurement, ...]]:
    progress = job.progress.training
    still = replace(progress, samples_per_s=0.0, estimated_end_s=0.0) if progress else None
    return still, job.checkpoint, job.reason, job.version, job.measurements
