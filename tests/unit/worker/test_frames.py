"""Messages of the execute stream, by hand and by protobuf."""

from __future__ import annotations

import pytest

from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard.rpc.status import MAX_DETAILS_BYTES
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.frames import LARGE_BYTES, read_calls, reply

LARGE = bytes(LARGE_BYTES)
CALLS = [
    pb.Call(id=1, request=b"a"),
    pb.Call(id=1 << 60, request=b"", timeout_us=5_000_000, alone=True),
    pb.Call(id=2, request=b"b", background=True),
    pb.Call(),
    pb.Call(id=300, request=b"x" * 300),
]


@pytest.mark.parametrize("padding", [[], [pb.Call(id=7, request=LARGE)]])
def test_calls_are_what_protobuf_makes_of_them(padding: list[pb.Call]) -> None:
    message = pb.ExecuteRequest(calls=[*CALLS, *padding], cancelled=[1, 1 << 40, 3])
    calls, cancelled = read_calls(message.SerializeToString())
    found = [pb.Call(**{**c._asdict(), "request": bytes(c.request)}) for c in calls]
    assert found == list(message.calls)
    assert cancelled == [1, 1 << 40, 3]


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05a", pb.ExecuteRequest(calls=[pb.Call(request=LARGE)])])
def test_what_is_no_message_is_refused(data: bytes | pb.ExecuteRequest) -> None:
    cut = data if isinstance(data, bytes) else data.SerializeToString()[:-1]
    with pytest.raises(InvalidInputError, match=f"expected an ExecuteRequest, got {len(cut)} bytes"):
        read_calls(cut)


def test_the_message_of_a_failure_is_cut() -> None:
    size, pieces = reply(1, InvalidInputError("é" * LARGE_BYTES))
    message = pb.ExecuteResponse.FromString(b"".join(pieces)).replies[0].failure.message
    assert message == "é" * (MAX_DETAILS_BYTES // 2)
    assert size < LARGE_BYTES


def test_replies_are_what_protobuf_reads() -> None:
    error = ExhaustedError("full", retry_after_s=1.5)
    parts = [reply(1, [b"abc"]), reply(1 << 60, [b"a", memoryview(LARGE), b"b"]), reply(3, error), reply(4, [b""])]
    found = pb.ExecuteResponse.FromString(b"".join(b"".join(pieces) for _, pieces in parts)).replies
    assert [r.id for r in found] == [1, 1 << 60, 3, 4]
    assert [r.response for r in found] == [b"abc", b"a" + LARGE + b"b", b"", b""]
    assert found[2].failure == pb.Failure(error="ExhaustedError", message="full", retry_after_ms=1500)
    assert [size for size, _ in parts[:2]] == [3, LARGE_BYTES + 2]
