"""The execute stream to one instance: many calls in flight, as many in one message as are at hand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio

from modelyard.backoff import Backoff
from modelyard.deployment import Instance
from modelyard.errors import ModelyardError, from_status
from modelyard.names import ModelVersion
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import INSTANCE_KEY
from modelyard.tasks import stop_on_failure
from modelyard.v1 import runner_pb2 as pb

log = logging.getLogger(__name__)
EOF = grpc.aio.EOF  # type: ignore[attr-defined]


class InstanceLostError(Exception):
    """The stream broke under a call; `executing` says whether the call may have reached the runner."""

    def __init__(self, *, executing: bool) -> None:
        super().__init__("the instance was lost")
        self.executing = executing


class ExecuteStream:
    """Keeps a stream to a runner open, and gives every call its reply."""

    def __init__(self, instance: Instance, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever `usable` may have become another."""
        self.instance = instance
        self.version = ModelVersion(instance.model, instance.version)
        self.connected = False
        self._name = str(self.version)
        self._on_change = on_change
        self._outbox: list[pb.Call] = []
        self._wake = asyncio.Event()
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._sent: set[int] = set()
        self._quiet = asyncio.Event()
        self._next_id = 0
        self._draining = False
        self._reserved = False
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(stop_on_failure)

    @property
    def outstanding(self) -> int:
        """How many calls wait for their reply."""
        return len(self._pending)

    @property
    def usable(self) -> bool:
        """Whether new calls may be sent."""
        return self.connected and not self._draining and not self._reserved

    async def call(self, request: bytes, timeout_s: float | None) -> bytes:
        """Execute a serialized ModelInferRequest; return the serialized ModelInferResponse.

        Raises:
            InstanceLostError: the stream broke before the reply came.
            ModelyardError: what the runner answered.
        """
        self._next_id += 1
        call_id = self._next_id
        timeout_us = 0 if timeout_s is None else max(1, int(timeout_s * 1e6))
        self._outbox.append(pb.Call(id=call_id, request=request, timeout_us=timeout_us))
        self._wake.set()
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = reply
        try:
            return await reply
        finally:
            self._pending.pop(call_id, None)
            self._sent.discard(call_id)
            if not self._pending:
                self._quiet.set()
                if self._draining:
                    self._wake.set()

    @contextlib.asynccontextmanager
    async def reserved(self) -> AsyncIterator[None]:
        """Have the instance to oneself: nobody else gets in, and those who are in finish first.

        Raises:
            InstanceLostError: it was lost before that.
        """
        self._reserved = True
        try:
            while self._pending:
                self._quiet.clear()
                await self._quiet.wait()
            if not self.connected or self._draining:
                raise InstanceLostError(executing=False)
            yield
        finally:
            self._reserved = False
            self._on_change()

    async def drain(self) -> None:
        """Send no new call, wait for the replies under way, close."""
        self._draining = True
        self._wake.set()
        if not self.connected:
            self._task.cancel()
        await asyncio.wait([self._task])

    async def close(self) -> None:
        """Close at once."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        backoff = Backoff(0.05, 1.0)
        async with open_channel(self.instance.endpoint, watchful=True) as channel:
            stub = Stub(channel, pb.DESCRIPTOR.services_by_name["Runner"])
            while not self._draining:
                try:
                    await channel.channel_ready()
                    await self._exchange(stub, backoff)
                except grpc.aio.AioRpcError as error:
                    facts = {"instance": self._name, "worker": self.instance.worker, "reason": error.details()}
                    log.warning("execute stream broke", extra=facts)
                finally:
                    self.connected = False
                    self._lose_all()
                    self._on_change()
                if not self._draining:
                    await asyncio.sleep(backoff.next())

    async def _exchange(self, stub: Stub, backoff: Backoff) -> None:
        call = stub.Execute(metadata=((INSTANCE_KEY, self._name),))
        try:
            if INSTANCE_KEY not in dict(await call.initial_metadata()):
                await call.read()  # it was not accepted, and this raises why
                return
            backoff.reset()
            self.connected = True
            self._on_change()
            await self._converse(call)
        finally:
            call.cancel()

    async def _converse(self, call: Any) -> None:
        writing = asyncio.ensure_future(self._write(call))
        try:
            while (response := await call.read()) is not EOF:
                for reply in response.replies:
                    self._settle(reply)
        finally:
            writing.cancel()

    async def _write(self, call: Any) -> None:
        # A write to a broken stream fails; why it broke is what the reader raises.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while not (self._draining and not self._pending):
                calls = [c for c in self._outbox if c.id in self._pending]  # the others were cancelled
                self._outbox.clear()
                if calls:
                    self._sent.update(c.id for c in calls)
                    await call.write(pb.ExecuteRequest(calls=calls))
                else:
                    self._wake.clear()
                    await self._wake.wait()
            await call.done_writing()

    def _settle(self, reply: pb.Reply) -> None:
        future = self._pending.get(reply.id)
        if future is None or future.done():
            return
        if reply.HasField("failure"):
            future.set_exception(_error(reply.failure))
        else:
            future.set_result(reply.response)

    def _lose_all(self) -> None:
        self._outbox.clear()
        for call_id, future in self._pending.items():
            if not future.done():
                future.set_exception(InstanceLostError(executing=call_id in self._sent))


def _error(failure: pb.Failure) -> ModelyardError:
    retry_after_s = failure.retry_after_ms / 1000 if failure.retry_after_ms else None
    return from_status("INTERNAL", failure.error, failure.message, retry_after_s)
