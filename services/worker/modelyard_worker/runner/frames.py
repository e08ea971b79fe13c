"""Messages of the execute stream; tensors in large ones are not copied."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError

from modelyard.errors import InvalidInputError, ModelyardError
from modelyard.oip.wire import fields, read_varint, varint
from modelyard.rpc.status import details_of
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.layouts import Buffer

LARGE_BYTES = 256 << 10
_CALLS, _CANCELLED = 1, 2
_ID, _REQUEST, _TIMEOUT, _ALONE, _BACKGROUND = 1, 2, 3, 4, 5
_REPLY, _REPLY_ID, _RESPONSE = b"\x0a", b"\x08", b"\x12"
ACCEPTED = pb.ExecuteResponse(accepted=True).SerializeToString()
LAST = pb.ExecuteResponse(last=True).SerializeToString()


class Call(NamedTuple):
    """A call as it comes; see runner.proto."""

    id: int
    request: Buffer
    timeout_us: int
    alone: bool
    background: bool


def read_calls(message: Buffer) -> tuple[list[Call], list[int]]:
    """Return the calls of a serialized ExecuteRequest, and the ids of those that are cancelled.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        if len(message) > LARGE_BYTES:
            return _large(memoryview(message))
        parsed = pb.ExecuteRequest.FromString(bytes(message))
    except (DecodeError, IndexError, ValueError):
        raise InvalidInputError(f"expected an ExecuteRequest, got {len(message)} bytes that are none") from None
    return [Call(c.id, c.request, c.timeout_us, c.alone, c.background) for c in parsed.calls], list(parsed.cancelled)


def read_instance(message: Buffer) -> str:
    """Return the instance that a serialized ExecuteRequest, the first of a stream, names; empty if it is none."""
    try:
        return pb.ExecuteRequest.FromString(bytes(message)).instance
    except DecodeError:
        return ""


def refusal(error: ModelyardError) -> bytes:
    """A serialized ExecuteResponse that refuses the stream, or ends it."""
    return pb.ExecuteResponse(refusal=_failure(error)).SerializeToString()


def _large(message: memoryview) -> tuple[list[Call], list[int]]:
    calls: list[Call] = []
    cancelled: list[int] = []
    for number, begin, end in fields(message):
        if number == _CALLS:
            calls.append(_call(message[begin:end]))
        elif number == _CANCELLED:
            cancelled += _numbers(message[begin:end])
    return calls, cancelled


def _numbers(packed: memoryview) -> list[int]:
    numbers: list[int] = []
    position = 0
    while position < len(packed):
        number, position = read_varint(packed, position)
        numbers.append(number)
    return numbers


def _call(message: memoryview) -> Call:
    numbers = {_ID: 0, _TIMEOUT: 0, _ALONE: 0, _BACKGROUND: 0}
    request: Buffer = b""
    for number, begin, end in fields(message):
        if number == _REQUEST:
            request = message[begin:end]
        elif number in numbers:
            numbers[number] = read_varint(message, begin)[0]
    return Call(numbers[_ID], request, numbers[_TIMEOUT], bool(numbers[_ALONE]), bool(numbers[_BACKGROUND]))


def reply(call_id: int, outcome: Outcome) -> tuple[int, list[Buffer]]:
    """An outcome as a part of a serialized ExecuteResponse: about how large it is, and its pieces."""
    if isinstance(outcome, ModelyardError):
        failed = pb.ExecuteResponse(replies=[pb.Reply(id=call_id, failure=_failure(outcome))]).SerializeToString()
        return len(failed), [failed]
    size = len(outcome[0]) if len(outcome) == 1 else sum(map(len, outcome))
    head = b"%b%b%b%b" % (_REPLY_ID, varint(call_id), _RESPONSE, varint(size))
    return size, [_REPLY, varint(len(head) + size), head, *outcome]


def begins(call_id: int) -> tuple[int, list[Buffer]]:
    """That a call that is alone is about to be executed, as a part of a serialized ExecuteResponse."""
    head = _REPLY_ID + varint(call_id)
    return len(head), [_REPLY, varint(len(head)), head]


def _failure(error: ModelyardError) -> pb.Failure:
    retry_after_ms = 0 if error.retry_after_s is None else round(error.retry_after_s * 1000)
    return pb.Failure(error=type(error).__name__, message=details_of(error), retry_after_ms=retry_after_ms)
