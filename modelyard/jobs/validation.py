"""Which specs make sense. What only the dataset and the model can tell is found out when the job is planned."""

from __future__ import annotations

import math

from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset_validation import check_dataset, check_range, check_size
from modelyard.jobs.spec import BatchInference, JobSpec
from modelyard.jobs.training_validation import check_training
from modelyard.names import check_name

MOST_SHARDS = 1024
MOST_ATTEMPTS = 100
MOST_PRIORITY = 9


def check_spec(spec: JobSpec) -> None:
    """Raise InvalidInputError unless a spec makes sense by itself."""
    check_range("priority", spec.priority, 0, MOST_PRIORITY)
    check_range("max_attempts", spec.max_attempts, 1, MOST_ATTEMPTS)
    if not 0 <= spec.deadline_s < math.inf:
        raise InvalidInputError(f"job: deadline_s: expected a number of seconds, 0 for none; got {spec.deadline_s}")
    if spec.max_dead_rows < 0:
        raise InvalidInputError(f"job: max_dead_rows: expected at least 0, got {spec.max_dead_rows}")
    if spec.training:
        check_training(spec.training)
    else:
        _check_inference(spec.inference)


def _check_inference(inference: BatchInference) -> None:
    check_name("model", inference.model)
    if inference.version:
        check_name("version", inference.version)
    _check_columns(inference.columns)
    check_dataset("dataset", inference.dataset)
    sharding = inference.sharding
    check_range("shards", sharding.shards, 0, MOST_SHARDS)
    if sharding.shards and not sharding.key_column:
        raise InvalidInputError(f"job: shards: expected 0 without a key column to shard by, got {sharding.shards}")
    check_size("columns", (inference.columns, inference.output.key_column, sharding.key_column))


def _check_columns(columns: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    seen: set[str] = set()
    for name, those in columns:
        if not name or name in seen:
            raise InvalidInputError(f"job: columns: expected each input once, by its name; got {name!r}")
        if not those or not all(those):
            raise InvalidInputError(f"job: columns: input {name!r}: expected names of columns, got {list(those)}")
        seen.add(name)
