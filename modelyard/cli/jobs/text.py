"""What is said of jobs in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from modelyard.cli.output import span
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress, TaskNews
from modelyard.jobs.states import JobState
from modelyard.jobs.training_progress import Measurement, TrainingProgress

_INTERNAL = {"asked", "found", "outcomes", "retrying"}
CONCLUDING = "all steps are done: what comes of them is exported, compared and registered"
_NEWS = {
    EventKind.TASK_RETRY: "failed, is tried again",
    EventKind.TASK_RECOVERED: "was lost with its worker, is tried again",
    EventKind.TASK_SPLIT: "was split",
    EventKind.TASK_DEAD: "was given up",
    EventKind.TASK_REVIVED: "is tried once more",
}
NOT_COUNTED = "rows not counted yet"
SLOW_ROWS_PER_S = 10
MINUTE_S = 60
HOUR_S = 3600


def document(job: Job) -> dict[str, Any]:
    """A job for programs: what the server tells of it."""
    fields = dataclasses.fields(job)
    return {field.name: getattr(job, field.name) for field in fields if field.name not in _INTERNAL}


def model(job: Job) -> str:
    """Its model as model@version; of one that is trained, its name."""
    if job.spec.training:
        return job.spec.model
    return f"{job.spec.inference.model}@{job.spec.inference.version}"


def state(job: Job) -> str:
    """Its state and, if there is one, the reason."""
    return f"{job.state}: {job.reason}" if job.reason else job.state.value


def rows(progress: Progress) -> str:
    """How many of its rows have their result."""
    if not progress.counted:
        return NOT_COUNTED
    # Rounded down: 100% is all of them.
    share = f" ({1000 * progress.done_rows // progress.rows / 10:.1f}%)" if progress.rows else ""
    return f"{progress.done_rows:,} of {progress.rows:,} rows{share}"


def done(job: Job) -> str:
    """How much of it is done: rows, or of a training steps."""
    if job.spec.training is None:
        return rows(job.progress)
    return steps(job.progress.training or TrainingProgress())


def steps(progress: TrainingProgress) -> str:
    """How far a training is; empty: it has not begun, or nobody knows, as of a script."""
    if not (progress.step or progress.steps):
        return ""
    epoch = f", epoch {min(progress.epoch + 1, progress.epochs)} of {progress.epochs}" if progress.epochs else ""
    return f"step {progress.step:,}" + (f" of {progress.steps:,}" if progress.steps else "") + epoch


def checkpoint(job: Job, step: int) -> str:
    """Which one it is: of a script they are counted, as its steps cannot be."""
    return f"{step:,}" if is_script(job) else f"at step {step:,}"


def is_script(job: Job) -> bool:
    """Whether it runs a script, of whose steps nobody knows."""
    return job.spec.training is not None and job.spec.training.code.is_script


def training_course(progress: TrainingProgress, now_s: float) -> str:
    """How a training goes: samples a second, members, how long it will last."""
    left_s = progress.estimated_end_s - now_s
    parts = (
        f"{progress.samples_per_s:,.4g} samples/s" if progress.samples_per_s else "",
        count(len(progress.members), "worker") if progress.members else "",
        f"{duration(left_s)} left" if progress.estimated_end_s and left_s > 0 else "",
    )
    return ", ".join(filter(None, parts))


def training_line(job: Job, measured: Iterable[Measurement], now_s: float) -> str:
    """How far a training is, what was measured, and how it goes."""
    progress = job.progress.training or TrainingProgress()
    if is_concluding(job, progress):
        course = concluding(job)
    else:
        course = training_course(progress, now_s) if job.state is JobState.RUNNING else ""
    return ", ".join(filter(None, (steps(progress), values(measured), course)))


def waits(reason: str, waited_s: float = 0.0) -> str:
    """That nothing answers, and what will be then."""
    since = f" for {duration(round(waited_s))}" if waited_s >= 1 else ""
    return f"no news{since}: {reason}; waiting until the suite answers again"


def is_concluding(job: Job, progress: TrainingProgress) -> bool:
    """Whether a training has no step left to be done, but its version is not there yet."""
    return job.state is JobState.RUNNING and 0 < progress.steps <= progress.step


def concluding(job: Job) -> str:
    """What is done then, unless the job's reason says more."""
    return "" if job.reason else CONCLUDING


def values(measurements: Iterable[Measurement]) -> str:
    """Values by name."""
    named = {name: value for measurement in measurements for name, value in measurement.values.items()}
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(named.items()))


def speed(rows_per_s: float) -> str:
    """Rows a second; empty if that is not known."""
    if not rows_per_s:
        return ""
    return f"{rows_per_s:,.0f} rows/s" if rows_per_s >= SLOW_ROWS_PER_S else f"{rows_per_s:.2g} rows/s"


def course(progress: Progress, now_s: float) -> str:
    """How it goes: speed, workers, what went wrong, how long it will last."""
    left_s = progress.estimated_end_s - now_s
    parts = (
        speed(progress.rows_per_s),
        count(len(progress.workers), "worker") if progress.workers else "",
        count(progress.retries, "retry", "retries") if progress.retries else "",
        count(progress.dead_rows, "row") + " given up" if progress.dead_rows else "",
        f"{duration(left_s)} left" if progress.estimated_end_s and left_s > 0 else "",
    )
    return ", ".join(filter(None, parts))


def waiting(job: Job) -> str:
    """What a job waits for that has begun, and of which nobody executes anything."""
    if job.state is not JobState.RUNNING or job.progress.done_rows or job.progress.workers:
        return ""
    return f"no worker executes it yet; `modelyard why {model(job)}` tells more"


def duration(seconds: float) -> str:
    """A duration; of some minutes the seconds, too."""
    if MINUTE_S <= seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min {int(seconds % MINUTE_S)} s"
    return span(seconds)


def count(number: int, one: str, many: str = "") -> str:
    """So many of something."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ended(job: Job, *, brief: bool = False) -> str:
    """What a job has come to. Why it has not SUCCEEDED is left to the error that ends the command.

    `brief`: of a training, without what its view shows in the end.
    """
    if job.spec.training:
        return "\n".join(filter(None, _training_ended(job, brief=brief)))
    shown = state(job) if job.state is JobState.SUCCEEDED else job.state.value
    if not job.progress.counted:
        return f"{job.id} {shown}"
    took_s = _took_s(job)
    rate = speed(job.progress.done_rows / took_s) if took_s > 0 else ""
    facts = (f"in {duration(took_s)}" if took_s > 0 else "", f"({rate})" if rate else "")
    retries = f", {count(job.progress.retries, 'retry', 'retries')}" if job.progress.retries else ""
    return f"{job.id} {shown}: {' '.join(filter(None, (rows(job.progress), *facts)))}{retries}"


def _took_s(job: Job) -> float:
    return job.end_time_s - job.start_time_s if job.start_time_s else 0.0


def _training_ended(job: Job, *, brief: bool) -> Iterator[str]:
    """Lines, some of them empty."""
    took_s, succeeded = _took_s(job), job.state is JobState.SUCCEEDED
    took = f" in {duration(took_s)}" if took_s > 0 else ""
    version = f": {job.spec.model}@{job.version}" if job.version else ""
    if succeeded or not brief:
        yield f"{job.id} {job.state}{took}{version}"
    if not brief:
        last = values(job.measurements)
        yield "; ".join(filter(None, (done(job), last and f"last values: {last}")))
    yield job.reason if succeeded else job.traceback.rstrip()
    if job.checkpoint and not succeeded:
        yield f"--resume {job.id} goes on from its checkpoint {checkpoint(job, job.checkpoint.step)}"


def failure(event: JobEvent) -> str:
    """A line on what went wrong with a task; empty: nothing did."""
    if event.task is None or event.kind not in _NEWS:
        return ""
    shown = task_rows(event.task)
    reason = f": {event.task.reason.removeprefix(f'{shown}: ')}" if event.task.reason else ""
    worker = f" ({event.task.worker})" if event.task.worker else ""
    return f"{shown} {_NEWS[event.kind]}{worker}{reason}"


def task_rows(task: TaskNews) -> str:
    """Which rows a task has; of one of shards its name tells."""
    if task.id.startswith("k"):
        return f"task {task.id}"
    return f"row {task.begin:,}" if task.end == task.begin + 1 else f"rows {task.begin:,} to {task.end - 1:,}"
