"""Which specs make sense. What only the dataset and the model can tell is found out when the job is planned."""

from __future__ import annotations

import json
import math
import re
from pathlib import PurePosixPath

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import InvalidInputError
from modelyard.jobs.spec import Artifact, BatchInference, Dataset, JobSpec
from modelyard.names import check_name

KINDS = ("npy", "npz", "parquet", "csv", "jsonl", "images")
MOST_INLINE_BYTES = CHUNK_SIZE_BYTES
MOST_NAMES_BYTES = 256 << 10
"""Of the record's 1 MiB: the rest is for what is found out about the job, and for what becomes of it."""
MOST_URL_CHARACTERS = 2048
MOST_SHARDS = 1024
MOST_ATTEMPTS = 100
MOST_PRIORITY = 9
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def check_spec(spec: JobSpec) -> None:
    """Raise InvalidInputError unless a spec makes sense by itself."""
    _check_range("priority", spec.priority, 0, MOST_PRIORITY)
    _check_range("max_attempts", spec.max_attempts, 1, MOST_ATTEMPTS)
    if not 0 <= spec.deadline_s < math.inf:
        raise InvalidInputError(f"job: deadline_s: expected a number of seconds, 0 for none; got {spec.deadline_s}")
    if spec.max_dead_rows < 0:
        raise InvalidInputError(f"job: max_dead_rows: expected at least 0, got {spec.max_dead_rows}")
    _check_inference(spec.inference)
    _check_size(spec)


def _check_size(spec: JobSpec) -> None:
    """Names of columns are all that is not bounded by itself and stays in the job's record."""
    inference = spec.inference
    names = inference.columns, inference.output.key_column, inference.sharding.key_column
    size_bytes = len(json.dumps(names))
    if size_bytes > MOST_NAMES_BYTES:
        raise InvalidInputError(f"job: columns: expected names of at most {MOST_NAMES_BYTES} bytes, got {size_bytes}")


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidInputError(f"job: {field}: expected {least} to {most}, got {value}")


def _check_inference(inference: BatchInference) -> None:
    check_name("model", inference.model)
    if inference.version:
        check_name("version", inference.version)
    _check_columns(inference.columns)
    _check_dataset(inference.dataset)
    sharding = inference.sharding
    _check_range("shards", sharding.shards, 0, MOST_SHARDS)
    if sharding.shards and not sharding.key_column:
        raise InvalidInputError(f"job: shards: expected 0 without a key column to shard by, got {sharding.shards}")


def _check_columns(columns: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    seen: set[str] = set()
    for name, those in columns:
        if not name or name in seen:
            raise InvalidInputError(f"job: columns: expected each input once, by its name; got {name!r}")
        if not those or not all(those):
            raise InvalidInputError(f"job: columns: input {name!r}: expected names of columns, got {list(those)}")
        seen.add(name)


def _check_dataset(dataset: Dataset) -> None:
    checks = {
        "artifact": (dataset.artifact is not None, _check_artifact),
        "url": (bool(dataset.url), _check_url),
        "inline": (dataset.inline is not None, _check_inline),
    }
    given = [name for name, (is_given, _) in checks.items() if is_given]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise InvalidInputError(f"job: dataset: expected one of artifact, url, inline; got {got}")
    if dataset.kind and dataset.kind not in KINDS:
        raise InvalidInputError(f"job: dataset: expected a kind of {', '.join(KINDS)}; got {dataset.kind!r}")
    checks[given[0]][1](dataset)
    if dataset.images:
        dataset.images.check()


def _check_artifact(dataset: Dataset) -> None:
    artifact = dataset.artifact or Artifact("")
    if not _DIGEST.match(artifact.manifest_digest):
        raise InvalidInputError(
            f"job: dataset: expected the manifest's sha256 in 64 hex digits, got {artifact.manifest_digest!r:.80}"
        )
    path = PurePosixPath(artifact.path)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInputError(f"job: dataset: expected a path within the artifact, got {artifact.path!r:.80}")


def _check_url(dataset: Dataset) -> None:
    if len(dataset.url) > MOST_URL_CHARACTERS:
        raise InvalidInputError(
            f"job: dataset: expected a URL of at most {MOST_URL_CHARACTERS} characters, got {len(dataset.url)}"
        )


def _check_inline(dataset: Dataset) -> None:
    size_bytes = len(dataset.inline or b"")
    if size_bytes > MOST_INLINE_BYTES:
        raise InvalidInputError(
            f"job: dataset: expected at most {MOST_INLINE_BYTES} bytes inline, got {size_bytes}; upload it instead"
        )
    if not dataset.kind or dataset.kind == "images":
        raise InvalidInputError(
            f"job: dataset: expected a kind of {', '.join(KINDS[:-1])} for what is inline; got {dataset.kind!r}"
        )
