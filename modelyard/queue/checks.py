"""What both queues refuse, with one message for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
)
from modelyard.names import check_name, parse_reference
from modelyard.queue.job_records import MAX_RECORD_BYTES, JobRecord, Written
from modelyard.queue.records import (
    MAX_PAYLOAD_BYTES,
    MAX_PRIORITY,
    MAX_REASON,
    MAX_RESULT_BYTES,
    Job,
    RetryPolicy,
    Task,
)

FULL_RETRY_AFTER_S = 1.0
CROWDED_RETRY_AFTER_S = 5.0


def check_job(job: Job) -> None:
    """Raise InvalidInputError unless it is well-formed."""
    check_name("job", job.id)
    check_name("tenant", job.tenant)
    parse_reference(job.model)
    if job.priority not in range(MAX_PRIORITY + 1):
        raise InvalidInputError(f"job {job.id}: expected a priority from 0 to {MAX_PRIORITY}, got {job.priority}")
    _check_policy(job.id, job.retry)


def _check_policy(job: str, policy: RetryPolicy) -> None:
    if policy.max_failures < 1 or policy.max_deaths < 1:
        raise InvalidInputError(f"job {job}: expected max_failures and max_deaths of at least 1, got {policy}")
    if not 0 <= policy.first_s <= policy.max_s < math.inf:
        raise InvalidInputError(f"job {job}: expected 0 <= first_s <= max_s, got {policy}")


def check_tasks(tasks: Sequence[Task]) -> None:
    """Raise InvalidInputError unless all are well-formed."""
    for task in tasks:
        check_name("task", task.id)
        for kind, name in (("replica", task.reply), ("dedupe key", task.dedupe)):
            if name:
                check_name(kind, name)
        if not 0 < task.cost < math.inf:
            raise InvalidInputError(f"task {task.id}: expected a cost above 0, got {task.cost}")
        _check_size(f"task {task.id}: payload", len(task.payload), MAX_PAYLOAD_BYTES)


def check_result(task: str, result: bytes) -> None:
    """Raise InvalidInputError if it is no reference any more, but the data."""
    _check_size(f"task {task}: result", len(result), MAX_RESULT_BYTES)


def bounded(reason: str) -> str:
    """Return a failure's reason as it is kept: cut where it is too long, with what is no Unicode replaced."""
    if len(reason) > MAX_REASON:
        reason = f"{reason[: MAX_REASON - 1]}\N{HORIZONTAL ELLIPSIS}"
    return reason.encode(errors="replace").decode()


def check_written(job: str, written: Written) -> None:
    """Raise InvalidInputError unless it can be a job's record."""
    check_name("phase", written.phase)
    if not written.record:
        raise InvalidInputError(f"job {job}: expected a record, got an empty one")
    _check_size(f"job {job}: record", len(written.record), MAX_RECORD_BYTES)
    _check_size(f"job {job}: plan", len(written.plan or b""), MAX_RECORD_BYTES)
    if written.keep_s is not None and not 0 <= written.keep_s < math.inf:
        raise InvalidInputError(f"job {job}: expected to be kept for a number of seconds, got {written.keep_s}")


def check_weight(tenant: str, weight: float) -> None:
    """Raise InvalidInputError unless it is a finite number above 0."""
    check_name("tenant", tenant)
    if not 0 < weight < math.inf:
        raise InvalidInputError(f"tenant {tenant}: expected a weight above 0, got {weight}")


def _check_size(what: str, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise InvalidInputError(f"{what}: expected at most {limit_bytes} bytes, got {size_bytes}")


def no_job(job: str) -> ModelyardError:
    """There is no such job."""
    return NotFoundError(f"no job {job}")


def known(job: str, record: JobRecord | None) -> JobRecord:
    """Return a record, or raise NotFoundError if there is none."""
    if record is None:
        raise no_job(job)
    return record


def no_task(job: str, task: str) -> ModelyardError:
    """There is no such task."""
    return NotFoundError(f"job {job}: no task {task}")


def other_job(job: str) -> ModelyardError:
    """The id is taken."""
    return AlreadyExistsError(f"job {job} exists with another model, tenant, priority or retry policy")


def refused(job: str, state: str, wanted: str) -> ModelyardError:
    """The job's state does not allow it."""
    return PreconditionError(f"job {job}: expected it running or paused to be {wanted}, it is {state}")


def full(job: str, what: str, have: int, cap: int) -> ModelyardError:
    """A cap would be exceeded."""
    message = f"job {job}: its tenant has {have} tasks {what}, at most {cap} are allowed"
    return ExhaustedError(message, retry_after_s=FULL_RETRY_AFTER_S)


def too_many_jobs(job: str, have: int, cap: int) -> ModelyardError:
    """The tenant's cap on jobs would be exceeded."""
    message = f"job {job}: its tenant has {have} jobs that have not ended, at most {cap} are allowed"
    return ExhaustedError(message, retry_after_s=FULL_RETRY_AFTER_S)


def crowded(job: str, used_bytes: int, limit_bytes: int) -> ModelyardError:
    """Redis keeps what is left of its memory for the jobs that run."""
    message = f"job {job}: redis is nearly full, {used_bytes} of {limit_bytes} bytes are used: no job is accepted now"
    return ExhaustedError(message, retry_after_s=CROWDED_RETRY_AFTER_S)


def no_record(job: str) -> ModelyardError:
    """The id is taken by a job without a record."""
    return AlreadyExistsError(f"job {job} exists without a record")


def deposed(job: str, epoch: int, last: int) -> ModelyardError:
    """Another leader leads."""
    return AbortedError(f"job {job}: expected a leader's epoch of {last} or later, got {epoch}: another one leads")


def not_ended(job: str, phase: str) -> ModelyardError:
    """The job's tasks are still needed."""
    return PreconditionError(f"job {job}: expected it to have ended to be cleared, it is {phase}")
