from __future__ import annotations

from dataclasses import replace

from modelyard.cli.jobs import text
from modelyard.jobs.job import Job, Progress
from modelyard.jobs.spec import BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState

JOB = Job("job-1", "acme", JobSpec(BatchInference("digits", Dataset(url="s3://rows"), "1")))


def test_durations() -> None:
    found = [text.duration(seconds) for seconds in (0.25, 59, 60, 119.9, 3599, 3600, 90_000)]
    assert found == ["0.25 s", "59 s", "1 min 0 s", "1 min 59 s", "59 min 59 s", "1 h", "1 d 1 h"]


def test_rows_that_there_are_none_of() -> None:
    assert text.rows(Progress(rows=0)) == "0 of 0 rows"
    assert text.rows(Progress()) == "rows not counted yet"


def test_all_rows_are_not_nearly_all() -> None:
    assert text.rows(Progress(rows=20_000, done_rows=19_999)) == "19,999 of 20,000 rows (99.9%)"


def test_what_failed_before_it_was_counted() -> None:
    assert text.ended(replace(JOB, state=JobState.FAILED, reason="no such file")) == "job-1 FAILED"


def test_what_a_job_has_come_to() -> None:
    progress = Progress(rows=1000, done_rows=999, dead_rows=1, retries=1)
    ended = replace(JOB, state=JobState.PARTIALLY_SUCCEEDED, reason="1 of 1000 rows were given up", progress=progress)
    told = "job-1 PARTIALLY_SUCCEEDED: 999 of 1,000 rows (99.9%)"
    assert text.ended(ended) == f"{told}, 1 retry"
    timed = replace(ended, start_time_s=100.0, end_time_s=110.0)
    assert text.ended(timed) == f"{told} in 10 s (100 rows/s), 1 retry"
