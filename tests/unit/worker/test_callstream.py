"""The replies of one execute stream, as messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.callstream import MAX_MESSAGE_BYTES, CallStream
from tests.unit.worker.instances import Echo, loaded, request
from tests.waiting import eventually


async def one(*calls: pb.Call) -> AsyncIterator[bytes]:
    yield pb.ExecuteRequest(calls=calls).SerializeToString()


async def test_a_large_reply_has_a_message_of_its_own() -> None:
    model = loaded(Echo())
    stream = CallStream(model, asyncio.Lock())
    large = request(*[0.0] * (MAX_MESSAGE_BYTES // 4))
    requests = [request(1), request(2), large, request(3)]
    await stream.read(one(*[pb.Call(id=i, request=data) for i, data in enumerate(requests)]))
    await eventually(lambda: len(stream._done) == 4)
    found = [pb.ExecuteResponse.FromString(await stream.replies()).replies for _ in range(3)]
    assert [[r.id for r in replies] for replies in found] == [[0, 1], [2], [3]]
    assert await stream.replies() == b""
    await model.close()
