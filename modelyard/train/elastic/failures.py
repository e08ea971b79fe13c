"""What is told of an error that ends a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.errors import PASSING, ModelyardError
from modelyard.train.control.messages import Envelope, Failed
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import RefusedError, StoppedError
from modelyard.train.failure import user_traceback

MOST_REASON, MOST_TRACEBACK = 2000, 20_000
"""Characters; of a traceback the end, where the cause is. A message of more than a mebibyte is not taken."""


@contextmanager
def told(member: Member) -> Iterator[None]:
    """Tell the control process of an error that ends the job; it is raised all the same, as any other is."""
    try:
        yield
    except (RefusedError, StoppedError):
        raise
    except Exception as error:
        if not passes(error):
            member.part(Envelope(failed=failed(error)))
        raise


def failed(error: BaseException) -> Failed:
    """Return what the control process is told of an error."""
    if isinstance(error, ModelyardError):
        return bounded(Failed(error.message, getattr(error, "traceback", "")))
    said = (str(error).strip().splitlines() or [""])[0]
    return bounded(Failed(f"{type(error).__name__}: {said}", user_traceback(error)))


def bounded(message: Failed) -> Failed:
    """Cut what is too long to be sent, and replace what is no text: half of a pair of surrogates, say."""
    return Failed(_text(message.reason[:MOST_REASON]), _text(message.traceback[-MOST_TRACEBACK:]))


def passes(error: BaseException) -> bool:
    """Whether an error is no end of a job: a service is away or full, or the disk; whoever begins anew may succeed."""
    return isinstance(error, (*PASSING, OSError))


def _text(value: str) -> str:
    return value.encode(errors="replace").decode()
