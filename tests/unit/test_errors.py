import inspect

import grpc
import grpc.aio
import pytest

from modelyard import errors
from modelyard.errors import ModelyardError
from modelyard.rpc.status import CODES, code_of, error_of, trailers_of

ROWS = {  # the table of the design: error, status, worth another try
    "InvalidInputError": ("INVALID_ARGUMENT", False),
    "SequenceError": ("INVALID_ARGUMENT", False),
    "NotFoundError": ("NOT_FOUND", False),
    "AlreadyExistsError": ("ALREADY_EXISTS", False),
    "PreconditionError": ("FAILED_PRECONDITION", False),
    "UnavailableError": ("UNAVAILABLE", True),
    "ExhaustedError": ("RESOURCE_EXHAUSTED", True),
    "AbortedError": ("ABORTED", False),
    "DeadlineError": ("DEADLINE_EXCEEDED", False),
    "CancelledError": ("CANCELLED", False),
    "UnauthenticatedError": ("UNAUTHENTICATED", False),
    "PermissionDeniedError": ("PERMISSION_DENIED", False),
    "DataLossError": ("DATA_LOSS", False),
    "UnimplementedError": ("UNIMPLEMENTED", False),
    "ModelExecutionError": ("INTERNAL", False),
    "InternalError": ("INTERNAL", False),
}


def failure(error: ModelyardError, *, named: bool = True) -> grpc.aio.AioRpcError:
    """The error as it arrives at a client."""
    trailers = grpc.aio.Metadata(*trailers_of(error)) if named else grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code_of(error), grpc.aio.Metadata(), trailers, error.message, None)


def test_every_error_has_its_row_and_every_row_its_error() -> None:
    declared = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, ModelyardError) and kind is not ModelyardError
    }
    assert declared == set(ROWS) == set(errors.TABLE)


@pytest.mark.parametrize("name", ROWS)
def test_the_row_of(name: str) -> None:
    kind = errors.TABLE[name]
    assert (kind.status, kind.retryable) == ROWS[name]
    assert kind.status in CODES
    assert kind.__doc__


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("retry_after_s", [None, 0.0, 0.25, 3.0])
def test_an_error_comes_back_as_it_was_sent(name: str, retry_after_s: float | None) -> None:
    sent = errors.TABLE[name](f"text of {name}", retry_after_s=retry_after_s)
    received = error_of(failure(sent))
    assert type(received) is type(sent)
    assert (received.message, str(received)) == (sent.message, sent.message)
    assert received.retry_after_s == retry_after_s


@pytest.mark.parametrize("status", sorted({status for status, _ in ROWS.values()}))
def test_a_status_without_a_name_becomes_the_error_of_its_row(status: str) -> None:
    received = error_of(failure(errors.BY_STATUS[status]("from another server"), named=False))
    assert received.status == status
    assert received.message == "from another server"


def test_internal_without_a_name_blames_nobodys_model() -> None:
    assert errors.BY_STATUS["INTERNAL"] is errors.InternalError


def test_an_unknown_name_falls_back_to_the_status() -> None:
    assert type(errors.from_status("NOT_FOUND", "ErrorOfALaterRelease", "m")) is errors.NotFoundError


def test_an_unknown_status_is_internal() -> None:
    assert type(errors.from_status("OUT_OF_RANGE", None, "m")) is errors.InternalError


def test_a_failure_without_details_still_says_something() -> None:
    bare = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), None, None)
    assert error_of(bare).message == "UNAVAILABLE"


def test_only_unavailable_and_exhausted_are_worth_another_try() -> None:
    retryable = {kind.status for kind in errors.TABLE.values() if kind.retryable}
    assert retryable == {"UNAVAILABLE", "RESOURCE_EXHAUSTED"} == {kind.status for kind in errors.PASSING}
