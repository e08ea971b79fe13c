"""How a job has ended, for who wants all of its results."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import CancelledError, ModelExecutionError, ModelyardError, PreconditionError
from modelyard.jobs.job import NO_ROW, DeadLetter, Job
from modelyard.jobs.states import JobState

MOST_NAMED = 5
_ENDS: dict[JobState, tuple[type[ModelyardError], str]] = {
    JobState.FAILED: (PreconditionError, "failed"),
    JobState.CANCELLED: (CancelledError, "was cancelled"),
    JobState.PARTIALLY_SUCCEEDED: (ModelExecutionError, "succeeded in part"),
}


def check_succeeded(job: Job) -> Job:
    """Return a job of which every row has its result.

    Raises:
        ModelExecutionError: some rows were given up.
        CancelledError: it was cancelled.
        PreconditionError: it has FAILED, or it has not ended.
    """
    if job.state is JobState.SUCCEEDED:
        return job
    kind, words = _ENDS.get(job.state, (PreconditionError, f"has not ended, it is {job.state}"))
    raise kind(f"{job.id} {words}" + (f": {job.reason}" if job.reason else ""))


def dead_rows(job: Job, letters: Sequence[DeadLetter]) -> ModelExecutionError:
    """The error that names rows that were given up, with their reasons; the first few of them."""
    named = "; ".join(f"{row_of(letter)}: {_reason(letter)}" for letter in letters[:MOST_NAMED])
    more = ", ..." if len(letters) > MOST_NAMED else ""
    count = f"{job.progress.dead_rows} of {job.progress.rows} rows"
    return ModelExecutionError(f"job {job.id}: {count} were given up: {named}{more}")


def _reason(letter: DeadLetter) -> str:
    """Why, without the row again."""
    return letter.reason.removeprefix(f"{row_of(letter)}: ")


def row_of(letter: DeadLetter) -> str:
    """Which row it is, or, if the number of one does not tell, which task."""
    return f"task {letter.task}" if letter.row == NO_ROW else f"row {letter.row}"
