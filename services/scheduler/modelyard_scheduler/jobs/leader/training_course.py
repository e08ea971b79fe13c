"""What the leader remembers of a training job from one round to the next, and what a report makes of the job. Pure.

All of it can be found again: in the record, and below training/{job}/ in etcd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from modelyard.backoff import Backoff
from modelyard.jobs.job import Job, Usage
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import Measurement, TrainingProgress, TrainingReport
from modelyard_scheduler.jobs.leader.course import BUSY_S, QUIET_S
from modelyard_scheduler.jobs.records import Held

STOPPING_S = 0.4
"""Between two rounds of a job whose processes are to stop."""
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
        looked_s: when its report was read last.
        hopeless_s: since when no worker can run it; None: one may.
        delays: of its preparation, while something is away.
        not_before_s: when it is prepared again.
    """

    held: Held
    again: bool = False
    lost: bool = False
    stopping_s: float | None = None
    stopped: bool = False
    looked_s: float = math.nan
    hopeless_s: float | None = None
    delays: Backoff | None = None
    not_before_s: float = -math.inf

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

    def lasted(self, now_s: float) -> float:
        """How long ago its report was read last; 0 for the first time."""
        before, self.looked_s = self.looked_s, now_s
        return 0.0 if math.isnan(before) else max(now_s - before, 0.0)


def begun(job: Job) -> Job:
    """A job of whose training nothing is known yet."""
    spec = job.spec.training
    if spec is None or job.progress.training:
        return job
    progress = TrainingProgress(
        steps=spec.steps, epochs=spec.epochs, min_workers=spec.min_workers, max_workers=spec.max_workers
    )
    return replace(job, progress=replace(job.progress, training=progress))


def told(job: Job, report: TrainingReport, lasted_s: float) -> Job:
    """A job as its control process has reported it.

    Args:
        job: RUNNING, or what follows.
        report: the latest.
        lasted_s: so long it was so.
    """
    spec, before = job.spec.training, job.progress.training
    if spec is None:
        return job
    step = max(report.progress.step, before.step if before else 0)
    progress = replace(
        report.progress,
        step=step,
        steps=report.progress.steps or spec.steps,
        epochs=report.progress.epochs or spec.epochs,
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        checkpoint_step=max(report.progress.checkpoint_step, before.checkpoint_step if before else 0),
    )
    usage = Usage(step * spec.batch_size, 0, job.usage.compute_s + lasted_s * len(progress.members))
    return replace(
        job,
        progress=replace(job.progress, training=progress, workers=progress.members),
        usage=usage,
        version=report.version or job.version,
        measurements=report.latest or job.measurements,
    )


def idle(job: Job) -> Job:
    """A job that nobody trains now."""
    progress = job.progress.training
    if progress is None:
        return job
    still = replace(progress, members=(), samples_per_s=0.0, estimated_end_s=0.0)
    return replace(job, progress=replace(job.progress, training=still, workers=()))


def is_worth_telling(job: Job, before: Job) -> bool:
    """Whether something has changed but what changes by itself."""
    return _lasting(job) != _lasting(before)


def _lasting(job: Job) -> tuple[TrainingProgress | None, str, str, tuple[Measurement, ...]]:
    progress = job.progress.training
    still = replace(progress, samples_per_s=0.0, estimated_end_s=0.0) if progress else None
    return still, job.reason, job.version, job.measurements
