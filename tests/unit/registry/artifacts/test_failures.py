from __future__ import annotations

import errno

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from modelyard.errors import ExhaustedError, InvalidInputError, ModelyardError, PreconditionError, UnavailableError
from modelyard_registry.artifacts.failures import no_room, translated
from modelyard_registry.artifacts.s3 import S3Bucket
from modelyard_registry.artifacts.store import ChunkStore

URL = "s3://models/yard"


def answer(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutObject")


def caused(error: Exception, cause: Exception) -> Exception:
    """As s3fs raises it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError("Access Denied"), PreconditionError, f"artifact store {URL} refuses us: Access Denied"),
        (FileNotFoundError("The specified bucket does not exist"), PreconditionError, "bucket does not exist"),
        (NoCredentialsError(), PreconditionError, f"artifact store {URL}: Unable to locate credentials"),
        (EndpointConnectionError(endpoint_url="http://s3"), UnavailableError, f"{URL}: Could not connect"),
        (answer("InternalError", "We encountered an error"), UnavailableError, "We encountered an error"),
        (OSError(errno.EIO, "odd"), UnavailableError, "odd"),
        (TimeoutError(), UnavailableError, f"artifact store {URL}: TimeoutError"),
        (OSError(errno.ENOSPC, "no space"), ExhaustedError, "artifact store is full: 7 bytes could not be kept"),
        (answer("XMinioStorageFull", "minimum free drive"), ExhaustedError, "full: 7 bytes"),
        (caused(OSError(errno.EIO, "full"), answer("QuotaExceeded", "quota")), ExhaustedError, "full: 7 bytes"),
    ],
)
def test_what_a_remote_store_says(error: Exception, kind: type[ModelyardError], said: str) -> None:
    assert isinstance(error, S3Bucket.failures)
    found = translated(error, URL, 7)
    assert type(found) is kind
    assert said in found.message


@pytest.mark.parametrize(("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_full_disk(number: int, full: bool) -> None:
    found = no_room(OSError(number, "no"), 7)
    assert (found is not None) == full


@pytest.mark.parametrize("url", ["nonsense://somewhere", "gs://bucket/prefix"])
def test_a_kind_of_store_that_is_not_known_or_not_installed(url: str) -> None:
    with pytest.raises(InvalidInputError, match=f"artifact store {url}: "):
        ChunkStore(url, "registry-0")
