"""A runner in this process, over real connections: what it answers, and when, is for the test to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np

from modelyard.catalogue import Signature
from modelyard.deployment import Instance, InstanceState
from modelyard.oip.tensors import encode_request
from modelyard.rpc.frames import Buffer, Frames
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
        self.streams: set[_Connection] = set()
        self.signature = Signature()
        self.ending = False
        self.endpoint = ""

    @property
    def instance(self) -> Instance:
        ready = InstanceState.READY
        return Instance(
            self.model,
            self.version,
            self.worker,
            ready,
            endpoint=self.endpoint,
            execute_endpoint=self.endpoint,
            signature=self.signature,
        )

    @contextlib.asynccontextmanager
    async def serve(self, endpoint: str = "127.0.0.1:0") -> AsyncIterator[FakeRunner]:
        """Listen until the scope ends, then break off whatever is under way."""
        host, _, port = endpoint.rpartition(":")
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self).frames, host, int(port))
        self.endpoint = f"{host}:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.ending = False
            self.cut()
            await asyncio.gather(*(c.frames.closed for c in self.streams))

    def cut(self) -> None:
        """Break every stream, as when the process dies."""
        for stream in list(self.streams):
            stream.end()

    def end(self) -> None:
        """End every stream in order, whatever is under way."""
        self.ending = True
        self.cut()

    async def notify(self) -> None:
        """Wake who waits for calls."""
        async with self.arrived:
            self.arrived.notify_all()

    async def received(self, count: int) -> list[pb.Call]:
        """Wait until so many calls have come."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.calls) >= count), 30)
        return self.calls

    def reply(self, call: pb.Call) -> pb.Reply:
        if self.failures:
            return pb.Reply(id=call.id, failure=self.failures.pop(0))
        if self.failure is not None:
            return pb.Reply(id=call.id, failure=self.failure)
        return pb.Reply(id=call.id, response=call.request)


class _Connection:
    """One execute stream."""

    def __init__(self, runner: FakeRunner) -> None:
        self._runner = runner
        self._accepted = False
        self._todo: asyncio.Queue[pb.Call] = asyncio.Queue()
        self._answering = asyncio.ensure_future(self._answer())
        self.frames = Frames(self._receive)
        self.frames.closed.add_done_callback(self._closed)

    def end(self) -> None:
        """In order if the runner is `ending`, else without a word."""
        if self._runner.ending:
            self._send(pb.ExecuteResponse(last=True))
            self.frames.close()
        else:
            self.frames.abort("cut")

    def _receive(self, message: Buffer) -> None:
        request = pb.ExecuteRequest.FromString(bytes(message))
        if self._accepted:
            self._take(request)
        else:
            self._begin(request.instance)

    def _begin(self, instance: str) -> None:
        runner = self._runner
        runner.metadata.append(instance)
        if runner.refuse:
            self._send(pb.ExecuteResponse(refusal=pb.Failure(error="NotFoundError", message="not here")))
            self.frames.close()
            return
        self._accepted = True
        runner.streams.add(self)
        self._send(pb.ExecuteResponse(accepted=True))

    def _take(self, request: pb.ExecuteRequest) -> None:
        runner = self._runner
        runner.messages.append(len(request.calls))
        runner.cancelled += request.cancelled
        runner.calls += request.calls
        for call in request.calls:
            if call.alone and runner.begins:
                self._send(pb.ExecuteResponse(replies=[pb.Reply(id=call.id)]))
            self._todo.put_nowait(call)
        self._notified = asyncio.ensure_future(runner.notify())

    async def _answer(self) -> None:
        while True:
            call = await self._todo.get()
            await self._runner.go.wait()
            self._send(pb.ExecuteResponse(replies=[self._runner.reply(call)]))

    def _send(self, response: pb.ExecuteResponse) -> None:
        self.frames.send((response.SerializeToString(),))

    def _closed(self, _: object) -> None:
        self._runner.streams.discard(self)
        self._answering.cancel()
