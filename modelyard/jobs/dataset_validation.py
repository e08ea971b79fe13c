"""Which sources of rows, and which figures, make sense."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact, Dataset

KINDS = ("npy", "npz", "parquet", "csv", "jsonl", "images")
MOST_INLINE_BYTES = CHUNK_SIZE_BYTES
MOST_NAMES_BYTES = 256 << 10
"""Of the record's 1 MiB: the rest is for what is found out about the job, and for what becomes of it."""
MOST_URL_CHARACTERS = 2048
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def check_range(field: str, value: int, least: int, most: int) -> None:
    """Raise InvalidInputError unless a value is in a range, both ends of which belong to it."""
    if not least <= value <= most:
        raise InvalidInputError(f"job: {field}: expected {least} to {most}, got {value}")


def check_size(field: str, names: object) -> None:
    """Raise InvalidInputError if names are too long; they are all that is not bounded by itself in a job's record."""
    size_bytes = len(json.dumps(names))
    if size_bytes > MOST_NAMES_BYTES:
        raise InvalidInputError(f"job: {field}: expected names of at most {MOST_NAMES_BYTES} bytes, got {size_bytes}")


def check_artifact(field: str, artifact: Artifact) -> None:
    """Raise InvalidInputError unless an artifact can be one."""
    if not _DIGEST.match(artifact.manifest_digest):
        raise InvalidInputError(
            f"job: {field}: expected the manifest's sha256 in 64 hex digits, got {artifact.manifest_digest!r:.80}"
        )
    check_path(field, artifact.path)


def check_path(field: str, name: str) -> None:
    """Raise InvalidInputError unless a path leads to something within an artifact."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInputError(f"job: {field}: expected a path within the artifact, got {name!r:.80}")


def check_dataset(field: str, dataset: Dataset) -> None:
    """Raise InvalidInputError unless a dataset has one source, and that one makes sense."""
    given = {
        "artifact": dataset.artifact is not None,
        "url": bool(dataset.url),
        "inline": dataset.inline is not None,
    }
    if sum(given.values()) != 1:
        got = " and ".join(name for name, is_given in given.items() if is_given) or "none"
        raise InvalidInputError(f"job: {field}: expected one of artifact, url, inline; got {got}")
    if dataset.kind and dataset.kind not in KINDS:
        raise InvalidInputError(f"job: {field}: expected a kind of {', '.join(KINDS)}; got {dataset.kind!r}")
    if dataset.artifact:
        check_artifact(field, dataset.artifact)
    if dataset.inline is not None:
        _check_inline(field, dataset.inline, dataset.kind)
    if len(dataset.url) > MOST_URL_CHARACTERS:
        raise InvalidInputError(
            f"job: {field}: expected a URL of at most {MOST_URL_CHARACTERS} characters, got {len(dataset.url)}"
        )
    if dataset.images:
        dataset.images.check()


def _check_inline(field: str, content: bytes, kind: str) -> None:
    if len(content) > MOST_INLINE_BYTES:
        raise InvalidInputError(
            f"job: {field}: expected at most {MOST_INLINE_BYTES} bytes inline, got {len(content)}; upload it instead"
        )
    if not kind or kind == "images":
        raise InvalidInputError(
            f"job: {field}: expected a kind of {', '.join(KINDS[:-1])} for what is inline; got {kind!r}"
        )
