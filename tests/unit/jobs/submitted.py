"""Jobs to begin with."""

from __future__ import annotations

from dataclasses import replace

from modelyard.jobs.job import Job, Progress
from modelyard.jobs.spec import Artifact, BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState

DIGEST = "ab" * 32
SPEC = JobSpec(BatchInference("digits", Dataset(artifact=Artifact(DIGEST, "rows.npy")), "1"))
NOT_COUNTED = Progress()


def job(state: JobState = JobState.QUEUED, progress: Progress = NOT_COUNTED, **spec: float) -> Job:
    """A job that was submitted at 100 s, in some state."""
    return Job("job-1", "default", replace(SPEC, **spec), state, create_time_s=100.0, progress=progress)  # type: ignore[arg-type]
