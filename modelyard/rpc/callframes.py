"""Large calls on the execute stream, written and read by hand: protobuf would copy each tensor twice more.

What this makes of one call is what modelyard.v1.ExecuteRequest with that call serializes to.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from modelyard.oip.wire import read_varint, varint
from modelyard.rpc.frames import Buffer
from modelyard.v1 import runner_pb2 as pb

_CALLS, _REPLIES = 0x0A, 0x0A
_ID, _BYTES, _TIMEOUT, _ALONE, _BACKGROUND = 0x08, 0x12, 0x18, 0x20, 0x28


@dataclass(frozen=True)
class Outgoing:
    """A call on its way to a runner, as the message Call has it."""

    id: int
    request: bytes
    timeout_us: int = 0
    alone: bool = False
    background: bool = False


def call_frame(call: Outgoing) -> tuple[bytes, bytes, bytes]:
    """A serialized ExecuteRequest of one call, in pieces; the request is one of them."""
    head = b"".join((bytes((_ID,)), varint(call.id), bytes((_BYTES,)), varint(len(call.request))))
    tail = bytes((_TIMEOUT,)) + varint(call.timeout_us) if call.timeout_us else b""
    tail += (bytes((_ALONE, 1)) if call.alone else b"") + (bytes((_BACKGROUND, 1)) if call.background else b"")
    size = len(head) + len(call.request) + len(tail)
    return b"".join((bytes((_CALLS,)), varint(size), head)), call.request, tail


def sole_response(message: Buffer) -> tuple[int, bytes] | None:
    """Id and response of a serialized ExecuteResponse of one reply; None if it is anything else."""
    try:
        size, position = read_varint(message, 1)
        if message[0] != _REPLIES or position + size != len(message) or message[position] != _ID:
            return None
        call_id, position = read_varint(message, position + 1)
        if message[position] != _BYTES:
            return None
        size, position = read_varint(message, position + 1)
    except (IndexError, ValueError):
        return None
    return (call_id, bytes(message[position:])) if position + size == len(message) else None


def read_response(message: Buffer) -> pb.ExecuteResponse | None:
    """A serialized ExecuteResponse; None if it is none."""
    try:
        return pb.ExecuteResponse.FromString(bytes(message))
    except DecodeError:
        return None
