"""Every error that crosses a boundary, and the gRPC status it becomes.

The table is read both ways: a server turns the error into its status, the SDK turns the status back into the same
error (the name travels in the trailing metadata `modelyard-error`).
"""

from __future__ import annotations


class ModelyardError(Exception):
    """The root of all errors that a user of Modelyard sees.

    Attributes:
        status: the name of the gRPC status code.
        retryable: whether the same call can succeed later without being changed.
        retry_after_s: how long to wait before that, where the server knows.
        published: what a `push` published all the same before it failed, as `model@version`; else empty.
    """

    status = "INTERNAL"
    retryable = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.published = ""


class InvalidInputError(ModelyardError):
    """A name, tensor, datatype, shape, byte length or parameter is not what was expected."""

    status = "INVALID_ARGUMENT"


class SequenceError(InvalidInputError):
    """A call continues a sequence that was not started on this instance."""


class NotFoundError(ModelyardError):
    """No such model, version, alias, deployment or job."""

    status = "NOT_FOUND"


class AlreadyExistsError(ModelyardError):
    """It exists with other content."""

    status = "ALREADY_EXISTS"


class PreconditionError(ModelyardError):
    """The state does not allow it: a version in use, a model that is not deployed."""

    status = "FAILED_PRECONDITION"


class UnavailableError(ModelyardError):
    """Loading, no live worker, or etcd or Redis away; worth another try."""

    status = "UNAVAILABLE"
    retryable = True


class ExhaustedError(ModelyardError):
    """A queue is full, a quota is used up, or memory or disk does not suffice."""

    status = "RESOURCE_EXHAUSTED"
    retryable = True


class AbortedError(ModelyardError):
    """A compare-and-set race was lost for good: the same call, with the same etag, will not succeed."""

    status = "ABORTED"


class DeadlineError(ModelyardError):
    """The deadline passed first."""

    status = "DEADLINE_EXCEEDED"


class CancelledError(ModelyardError):
    """The caller cancelled."""

    status = "CANCELLED"


class UnauthenticatedError(ModelyardError):
    """No credentials, or bad ones."""

    status = "UNAUTHENTICATED"


class PermissionDeniedError(ModelyardError):
    """The credentials do not allow this."""

    status = "PERMISSION_DENIED"


class DataLossError(ModelyardError):
    """Bytes do not have the digest or the length that was announced."""

    status = "DATA_LOSS"


class UnimplementedError(ModelyardError):
    """This server does not have that method."""

    status = "UNIMPLEMENTED"


class ModelExecutionError(ModelyardError):
    """The model's own code failed; the message is the model's."""

    status = "INTERNAL"


class InternalError(ModelyardError):
    """Something unforeseen; the message carries a request id, the server's log the stack."""

    status = "INTERNAL"


PASSING = (UnavailableError, ExhaustedError)
"""What passes: who goes on for ever tries again after it."""

TABLE: dict[str, type[ModelyardError]] = {
    error.__name__: error
    for error in (
        SequenceError,
        InvalidInputError,
        NotFoundError,
        AlreadyExistsError,
        PreconditionError,
        UnavailableError,
        ExhaustedError,
        AbortedError,
        DeadlineError,
        CancelledError,
        UnauthenticatedError,
        PermissionDeniedError,
        DataLossError,
        UnimplementedError,
        ModelExecutionError,
        InternalError,
    )
}

BY_STATUS: dict[str, type[ModelyardError]] = {error.status: error for error in TABLE.values()}
"""The error for a status that came without a name; of several the last, so that INTERNAL is InternalError."""


def from_status(status: str, name: str | None, message: str, retry_after_s: float | None = None) -> ModelyardError:
    """Return the error that a status stands for; an unknown status becomes an InternalError."""
    error = TABLE.get(name or "") or BY_STATUS.get(status, InternalError)
    return error(message, retry_after_s=retry_after_s)
