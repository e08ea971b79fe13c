"""Jobs that are planned, and the models that they are for."""

from __future__ import annotations

from typing import Any

from modelyard.catalogue import Signature, TensorSpec
from modelyard.jobs.job import Job
from modelyard.jobs.spec import BatchInference, Dataset, JobSpec

ROWS_OF_FOUR = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),))
ROWS_OF_ONE = Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 2)),))


def job_of(dataset: Dataset, name: str = "job-1", **inference: Any) -> Job:
    """A job that executes a model `m` on a dataset."""
    return Job(name, "acme", JobSpec(BatchInference("m", dataset, "1", **inference)))
