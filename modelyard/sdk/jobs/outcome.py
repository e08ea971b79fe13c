"""How a job has ended, for who wants all of its results."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.errors import CancelledError, ModelExecutionError, ModelyardError, PreconditionError
from modelyard.jobs.job import NO_ROW, DeadLetter, Job
from modelyard.jobs.states import JobState

MOST_NAMED = 5


def check_succeeded(job: Job) -> Job:
    """Return a job of which every row has its result.

    Raises:
        ModelExecutionError: some rows were given up.
        CancelledError: it was cancelled.
        PreconditionError: it has FAILED, or it has not ended.
    """
    if job.state is JobState.SUCCEEDED:
        return job
    reason = f": {job.reason}" if job.reason else ""
    kinds: dict[JobState, type[ModelyardError]] = {
        JobState.PARTIALLY_SUCCEEDED: ModelExecutionError,
        JobState.CANCELLED: CancelledError,
    }
    raise kinds.get(job.state, PreconditionError)(f"job {job.id}: expected it SUCCEEDED, it is {job.state}{reason}")


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
