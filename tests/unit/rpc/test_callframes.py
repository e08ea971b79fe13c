"""Large calls framed by hand: what protobuf makes of them."""

from __future__ import annotations

import pytest

from modelyard.rpc.callframes import Outgoing, call_frame, sole_response
from modelyard.v1 import runner_pb2 as pb


@pytest.mark.parametrize("call_id", [1, 127, 128, 1 << 40])
@pytest.mark.parametrize("request_", [b"", b"x", b"x" * 200, b"x" * 70_000])
@pytest.mark.parametrize("timeout_us", [0, 1, 300, 10**12])
@pytest.mark.parametrize(("alone", "background"), [(False, False), (True, False), (False, True)])
def test_a_frame_is_the_message(call_id: int, request_: bytes, timeout_us: int, alone: bool, background: bool) -> None:
    call = pb.Call(id=call_id, request=request_, timeout_us=timeout_us, alone=alone, background=background)
    assert _read(call_frame(Outgoing(call_id, request_, timeout_us, alone, background))) == pb.ExecuteRequest(
        calls=[call]
    )


@pytest.mark.parametrize("call_id", [1, 128, 1 << 40])
@pytest.mark.parametrize("response", [b"", b"x" * 200, b"x" * 70_000])
def test_a_sole_response_is_read(call_id: int, response: bytes) -> None:
    reply = pb.Reply(id=call_id, response=response)
    message = pb.ExecuteResponse(replies=[reply]).SerializeToString()
    assert sole_response(message) == sole_response(memoryview(message)) == (call_id, response)
    for end in range(min(len(message), 12)):
        assert sole_response(message[:end]) is None


def test_anything_else_is_not() -> None:
    failed = pb.Reply(id=1, failure=pb.Failure(error="InternalError", message="no"))
    two = pb.ExecuteResponse(replies=[pb.Reply(id=i, response=b"x") for i in (1, 2)])
    for message in (pb.ExecuteResponse(replies=[failed]), two, pb.ExecuteResponse()):
        assert sole_response(message.SerializeToString()) is None
    assert sole_response(b"\xff" * 30) is None


def _read(pieces: tuple[bytes, ...]) -> pb.ExecuteRequest:
    return pb.ExecuteRequest.FromString(b"".join(pieces))
