"""What a store says when it fails, as errors of ours."""

from __future__ import annotations

import errno

from modelyard.errors import ExhaustedError, ModelyardError, PreconditionError, UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_CODES = {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "XMinioBucketQuotaExceeded"}
"""What S3 and those who speak it say when they are full."""
_REFUSALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}


def no_room(error: OSError, size_bytes: int) -> ExhaustedError | None:
    """The error to raise for bytes that could not be kept because a disk is full; None for any other reason."""
    if error.errno not in _FULL:
        return None
    return ExhaustedError(f"artifact store is full: {size_bytes} bytes could not be kept")


def translated(error: Exception, url: str, size_bytes: int) -> ModelyardError:
    """The error of ours that says that a remote store is full, refuses us, or does not answer."""
    answer = getattr(error, "response", None) or getattr(error.__cause__, "response", None) or {}
    said = f"artifact store {url}: {str(error) or type(error).__name__}"
    full = answer.get("Error", {}).get("Code") in _FULL_CODES
    if full or (isinstance(error, OSError) and error.errno in _FULL):
        return ExhaustedError(f"artifact store is full: {size_bytes} bytes could not be kept")
    if isinstance(error, PermissionError):
        return PreconditionError(f"artifact store {url} refuses us: {error}")
    if isinstance(error, FileNotFoundError) or type(error).__name__ in _REFUSALS:
        return PreconditionError(said)
    return UnavailableError(said, retry_after_s=1.0)
