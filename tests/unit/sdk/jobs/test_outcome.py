from __future__ import annotations

import pytest

from modelyard.errors import CancelledError, ModelExecutionError, ModelyardError, PreconditionError
from modelyard.jobs.job import DeadLetter, Job, Progress
from modelyard.jobs.spec import BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState
from modelyard.sdk.jobs.outcome import check_succeeded, dead_rows

SPEC = JobSpec(BatchInference("digits", Dataset(url="s3://rows")))


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        (JobState.PARTIALLY_SUCCEEDED, ModelExecutionError, "succeeded in part"),
        (JobState.FAILED, PreconditionError, "failed"),
        (JobState.CANCELLED, CancelledError, "was cancelled"),
        (JobState.RUNNING, PreconditionError, "has not ended, it is RUNNING"),
    ],
)
def test_only_what_has_succeeded_has(state: JobState, kind: type[ModelyardError], words: str) -> None:
    with pytest.raises(kind, match=f"^j {words}: because$"):
        check_succeeded(Job("j", "acme", SPEC, state, "because"))
    with pytest.raises(kind, match=f"^j {words}$"):
        check_succeeded(Job("j", "acme", SPEC, state))
    job = Job("j", "acme", SPEC, JobState.SUCCEEDED)
    assert check_succeeded(job) is job


def test_dead_rows_are_named() -> None:
    job = Job("j", "acme", SPEC, progress=Progress(rows=9, dead_rows=2))
    letters = [DeadLetter("r1-2", 1, "row 1: odd"), DeadLetter("k0-1-4.r0-1", -1, "row 7: odd")]
    assert dead_rows(job, letters).message == (
        "job j: 2 of 9 rows were given up: row 1: odd; task k0-1-4.r0-1: row 7: odd"
    )
