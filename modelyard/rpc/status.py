"""Errors as gRPC statuses and back. The name of the error travels in trailing metadata, a retry delay as gRPC's own
`grpc-retry-pushback-ms`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio

from modelyard.errors import ModelyardError, from_status

ERROR_KEY = "modelyard-error"
REQUEST_ID_KEY = "modelyard-request-id"
TENANT_KEY = "modelyard-tenant"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
REVISION_KEY = "modelyard-revision"
"""In trailing metadata: the newest etcd revision that answering the call has seen."""
MIN_REVISION_KEY = "modelyard-min-revision"
"""In a request's metadata: how new the answer must be."""
LOST_STATUS = "Internal error from Core"
"""What grpc.aio's client says in the place of a server's status that reached it while it was sending."""
MAX_DETAILS_BYTES = 2000

CODES: dict[str, grpc.StatusCode] = {code.name: code for code in grpc.StatusCode}


def code_of(error: ModelyardError) -> grpc.StatusCode:
    """The status code of an error."""
    return CODES[error.status]


def details_of(error: ModelyardError) -> str:
    """The message of an error, cut so that it fits into a trailer even where each byte is escaped as three."""
    return error.message.encode(errors="replace")[:MAX_DETAILS_BYTES].decode(errors="ignore")


def trailers_of(error: ModelyardError) -> tuple[tuple[str, str], ...]:
    """The trailing metadata of an error."""
    trailers = [(ERROR_KEY, type(error).__name__)]
    if error.retry_after_s is not None:
        trailers.append((PUSHBACK_KEY, str(int(error.retry_after_s * 1000))))
    return tuple(trailers)


def revision_of(trailers: Iterable[Any] | None) -> int:
    """The etcd revision that trailing metadata names; 0 where it names none."""
    return next((int(value) for key, value in trailers or () if key == REVISION_KEY), 0)


def error_of(failure: grpc.aio.AioRpcError) -> ModelyardError:
    """The error behind a failed call."""
    trailers: dict[str, Any] = dict(failure.trailing_metadata() or ())  # type: ignore[arg-type]
    pushback = trailers.get(PUSHBACK_KEY)
    return from_status(
        failure.code().name,
        trailers.get(ERROR_KEY),
        failure.details() or failure.code().name,
        int(pushback) / 1000 if pushback else None,
    )
