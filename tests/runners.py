"""A runner in this process, over real gRPC: what it answers, and when, is for the test to say."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np

from modelyard.catalogue import Signature
from modelyard.deployment import Instance, InstanceState
from modelyard.errors import NotFoundError
from modelyard.oip.tensors import encode_request
from modelyard.rpc.server import Server
from modelyard.rpc.status import INSTANCE_KEY
from modelyard.v1 import runner_pb2 as pb


def request(payload: bytes = b"x", model: str = "m", version: str = "", **parameters: int | str) -> bytes:
    """A serialized request with one input: one row of these bytes."""
    message = encode_request(model, version, {"x": np.frombuffer(payload, np.uint8)[None]})
    for name, value in parameters.items():
        if isinstance(value, str):
            message.parameters[name].string_param = value
        else:
            message.parameters[name].int64_param = value
    return message.SerializeToString()


class FakeRunner:
    """Answers a call with its request, once `go` is set; `calls` are those that came.

    Attributes:
        begins: whether it says of a call that is alone that it begins.
        refuse: whether streams are refused, as by a runner that does not hold the instance.
        ending: whether streams that are ended from now on are so in order.
        failures: what it answers calls with, the first first, before it answers them.
        cancelled: the ids of calls that were taken back.
        streams: those that are open; `cut` breaks them, `end` ends them in order.
    """

    def __init__(self, worker: str = "w0", model: str = "m", version: str = "1") -> None:
        self.worker = worker
        self.model = model
        self.version = version
        self.calls: list[pb.Call] = []
        self.messages: list[int] = []
        self.metadata: list[str] = []
        self.begins = True
        self.refuse = False
        self.failure: pb.Failure | None = None
        self.failures: list[pb.Failure] = []
        self.cancelled: list[int] = []
        self.go = asyncio.Event()
        self.go.set()
        self.arrived = asyncio.Condition()
        self.streams: set[asyncio.Queue[pb.Reply | None]] = set()
        self.signature = Signature()
        self.ending = False
        self.endpoint = ""

    @property
    def instance(self) -> Instance:
        ready = InstanceState.READY
        return Instance(self.model, self.version, self.worker, ready, endpoint=self.endpoint, signature=self.signature)

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
        """Break every stream, as when the process dies."""
        for stream in self.streams:
            stream.put_nowait(None)

    def end(self) -> None:
        """End every stream in order, whatever is under way."""
        self.ending = True
        self.cut()

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
        todo: asyncio.Queue[pb.Call] = asyncio.Queue()
        tasks = [asyncio.ensure_future(t) for t in (self._read(requests, todo, replies), self._answer(todo, replies))]
        try:
            while (reply := await replies.get()) is not None:
                yield pb.ExecuteResponse(replies=[reply])
            if not self.ending:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        finally:
            self.streams.discard(replies)
            for task in tasks:
                task.cancel()

    async def _read(
        self,
        requests: AsyncIterator[pb.ExecuteRequest],
        todo: asyncio.Queue[pb.Call],
        replies: asyncio.Queue[pb.Reply | None],
    ) -> None:
        async for request in requests:
            self.messages.append(len(request.calls))
            self.cancelled += request.cancelled
            self.calls += request.calls
            for call in request.calls:
                if call.alone and self.begins:
                    replies.put_nowait(pb.Reply(id=call.id))
                todo.put_nowait(call)
            async with self.arrived:
                self.arrived.notify_all()

    async def _answer(self, todo: asyncio.Queue[pb.Call], replies: asyncio.Queue[pb.Reply | None]) -> None:
        while True:
            call = await todo.get()
            await self.go.wait()
            replies.put_nowait(self._reply(call))

    def _reply(self, call: pb.Call) -> pb.Reply:
        if self.failures:
            return pb.Reply(id=call.id, failure=self.failures.pop(0))
        if self.failure is not None:
            return pb.Reply(id=call.id, failure=self.failure)
        return pb.Reply(id=call.id, response=call.request)
