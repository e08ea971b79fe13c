"""A runner in this process, over real gRPC: what it answers, and when, is for the test to say."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from modelyard.deployment import Instance, InstanceState
from modelyard.errors import NotFoundError, UnavailableError
from modelyard.rpc.server import Server
from modelyard.rpc.status import INSTANCE_KEY
from modelyard.v1 import runner_pb2 as pb


class FakeRunner:
    """Answers a call with its request, once `go` is set; `calls` are those that came.

    Attributes:
        refuse: whether streams are refused, as by a runner that does not hold the instance.
        streams: those that are open; `cut` breaks them.
    """

    def __init__(self, worker: str = "w0", model: str = "m", version: str = "1") -> None:
        self.worker = worker
        self.model = model
        self.version = version
        self.calls: list[pb.Call] = []
        self.messages: list[int] = []
        self.metadata: list[str] = []
        self.refuse = False
        self.failure: pb.Failure | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Condition()
        self.streams: set[asyncio.Queue[pb.Reply | None]] = set()
        self.endpoint = ""

    @property
    def instance(self) -> Instance:
        return Instance(self.model, self.version, self.worker, InstanceState.READY, endpoint=self.endpoint)

    @contextlib.asynccontextmanager
    async def serve(self, endpoint: str = "127.0.0.1:0") -> AsyncIterator[FakeRunner]:
        """Listen until the scope ends, then break off whatever is under way."""
        server = Server(self.worker)
        server.add(pb.DESCRIPTOR.services_by_name["Runner"], self)
        self.endpoint = await server.start(endpoint)
        try:
            yield self
        finally:
            self.cut()
            await server.stop(0)

    def cut(self) -> None:
        """Break every stream."""
        for stream in self.streams:
            stream.put_nowait(None)

    async def received(self, count: int) -> list[pb.Call]:
        """Wait until so many calls have come."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.calls) >= count), 30)
        return self.calls

    async def Execute(
        self, requests: AsyncIterator[pb.ExecuteRequest], context: Any
    ) -> AsyncIterator[pb.ExecuteResponse]:
        self.metadata += [str(v) for k, v in context.invocation_metadata() if k == INSTANCE_KEY]
        if self.refuse:
            raise NotFoundError("not here")
        await context.send_initial_metadata(((INSTANCE_KEY, f"{self.model}@{self.version}"),))
        replies: asyncio.Queue[pb.Reply | None] = asyncio.Queue()
        self.streams.add(replies)
        reading = asyncio.ensure_future(self._read(requests, replies))
        try:
            while (reply := await replies.get()) is not None:
                yield pb.ExecuteResponse(replies=[reply])
            if not reading.done():
                raise UnavailableError("cut")
        finally:
            self.streams.discard(replies)
            reading.cancel()

    async def _read(self, requests: AsyncIterator[pb.ExecuteRequest], replies: asyncio.Queue[pb.Reply | None]) -> None:
        async for request in requests:
            self.messages.append(len(request.calls))
            for call in request.calls:
                self.calls.append(call)
                async with self.arrived:
                    self.arrived.notify_all()
                await self.go.wait()
                replies.put_nowait(self._reply(call))
        replies.put_nowait(None)

    def _reply(self, call: pb.Call) -> pb.Reply:
        if self.failure is not None:
            return pb.Reply(id=call.id, failure=self.failure)
        return pb.Reply(id=call.id, response=call.request)
