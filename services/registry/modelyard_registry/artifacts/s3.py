"""Chunks on S3, or on what speaks its protocol, through s3fs; some requests are called by their names.

Endpoint and credentials come from where botocore looks for them: the variables AWS_*, or its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import fsspec
from botocore.exceptions import BotoCoreError, ClientError

from modelyard.errors import PreconditionError
from modelyard_registry.artifacts.bucket import Bucket

OPTIONS = {
    "use_listings_cache": False,
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 20,
        "max_pool_connections": 64,
        "retries": {"total_max_attempts": 2, "mode": "standard"},
    },
}
REMOVAL_OPTIONS = {
    "use_listings_cache": False,
    "config_kwargs": {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 1}},
}
"""A removal is tried once and not waited for longer than this, so that it does not outlive the right to remove."""


class S3Bucket(Bucket):
    """A prefix of a bucket. All methods block."""

    options: ClassVar[dict[str, Any]] = OPTIONS
    failures = (OSError, BotoCoreError, ClientError)
    removed_at_once = 1_000

    def __init__(self, url: str) -> None:
        """`url`: such as s3://bucket/prefix."""
        super().__init__(url)
        self._remover, _ = fsspec.core.url_to_fs(url, **REMOVAL_OPTIONS)
        self._remover.retries = 1

    def _named(self, path: str) -> tuple[str, str]:
        """Bucket and key."""
        bucket, key, _ = self._fs.split_path(path)
        return bucket, key

    def _size(self, path: str) -> int:
        """As one request: s3fs makes two for what is not there, in case it is a directory."""
        bucket, key = self._named(path)
        return int(self._fs.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])

    def _entries(self, directory: str) -> Iterator[tuple[str, int]]:
        """As one request for each thousand; of a directory that is not there, too."""
        bucket, prefix = self._named(directory)
        page: dict[str, Any] = {}
        while not page or page.get("IsTruncated"):
            token = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
            page = self._fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", **token)
            for entry in page.get("Contents", []):
                yield entry["Key"], entry["Size"]

    def _remove(self, paths: Sequence[str]) -> None:
        """As one request: s3fs does not tell what it could not remove."""
        bucket, _ = self._named(paths[0])
        objects = [{"Key": self._named(path)[1]} for path in paths]
        answer = self._remover.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", []):
            raise PreconditionError(
                f"artifact store {self._url}: {error.get('Key')} was not removed: {error.get('Message', 'no reason')}"
            )
