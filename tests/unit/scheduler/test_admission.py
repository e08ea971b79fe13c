"""How much a front door takes on."""

from __future__ import annotations

import pytest

from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard_scheduler.frontdoor.admission import MAX_REQUEST_BYTES, RETRY_AFTER_S, Admission, Bounds


def test_so_many_calls() -> None:
    admission = Admission(Bounds(calls=2))
    admission.enter(1)
    admission.enter(1)
    with pytest.raises(ExhaustedError, match="this front door has 2 calls outstanding") as refused:
        admission.enter(1)
    assert refused.value.retry_after_s == RETRY_AFTER_S
    admission.leave(1)
    admission.enter(1)


def test_so_many_bytes_but_one_call_at_least() -> None:
    admission = Admission(Bounds(bytes=100))
    admission.enter(1000)
    with pytest.raises(ExhaustedError, match="1000 bytes of requests outstanding, at most 100 may be"):
        admission.enter(1)
    admission.leave(1000)
    admission.enter(60)
    admission.enter(40)
    with pytest.raises(ExhaustedError):
        admission.enter(1)
    assert (admission.calls, admission.bytes) == (2, 100)


def test_what_no_message_to_a_runner_can_hold() -> None:
    with pytest.raises(InvalidInputError, match=f"request: expected at most {MAX_REQUEST_BYTES} bytes"):
        Admission(Bounds()).enter(MAX_REQUEST_BYTES + 1)
