"""One Execute call to a runner: requests out, as many in one message as are at hand, and every call its reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import grpc.aio

from modelyard.errors import ModelyardError, from_status
from modelyard.rpc.status import ERROR_KEY, INSTANCE_KEY
from modelyard.v1 import runner_pb2 as pb
from modelyard_scheduler.frontdoor.frames import frame, sole_response

EOF = grpc.aio.EOF  # type: ignore[attr-defined]
LARGE_BYTES = 256 << 10
"""Requests from this size on are framed by hand, each in a message of its own."""
MESSAGE_BYTES = 1 << 20
"""No message gets a further call once it has this size."""


class InstanceLostError(Exception):
    """The stream broke under a call.

    Attributes:
        executing: whether a runner may have died while it executed the call.
        sent: whether the call had been sent to a runner that died.
    """

    def __init__(self, *, executing: bool = False, sent: bool = False) -> None:
        super().__init__("the instance was lost")
        self.executing = executing
        self.sent = sent


class Lane:
    """The calls of one Execute call. Calls may be submitted at once; they are sent when the runner has accepted it."""

    def __init__(self, instance: str) -> None:
        """`instance` is "model@version"."""
        self._instance = instance
        self._outbox: OrderedDict[int, tuple[bytes, int, bool]] = OrderedDict()
        self._cancelled: list[int] = []
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._not_begun: set[int] = set()
        self._last_id = 0
        self._last_sent = 0
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def submit(self, request: bytes, timeout_s: float | None, alone: bool) -> tuple[int, asyncio.Future[bytes]]:
        """Return the id of a call and the future response to its serialized request.

        It fails with an InstanceLostError when the lane breaks, with a ModelyardError when the runner answers one. Who
        does not wait for it any more says so to `forget`.
        """
        self._last_id = call_id = self._last_id + 1
        timeout_us = 0 if timeout_s is None else max(1, int(timeout_s * 1e6))
        reply = self._pending[call_id] = self._loop.create_future()
        self._outbox[call_id] = (request, timeout_us, alone)
        if alone:
            self._not_begun.add(call_id)
        self._wake.set()
        return call_id, reply

    def forget(self, call_id: int) -> None:
        """Take back a call that nobody waits for any more: it is not sent, or leaves the runner's queue."""
        self._not_begun.discard(call_id)
        self._outbox.pop(call_id, None)
        if self._pending.pop(call_id, None) is not None and call_id <= self._last_sent:
            self._cancelled.append(call_id)
            self._wake.set()

    async def converse(self, execute: Any, on_accepted: Callable[[], None]) -> None:
        """Exchange calls and replies until the runner ends it, then lose those that are left.

        Args:
            execute: the method, of serialized messages.
            on_accepted: called when the runner has said that it holds the instance.

        Raises:
            grpc.aio.AioRpcError: it broke, or was not accepted.
        """
        call = execute(metadata=((INSTANCE_KEY, self._instance),))
        died = True
        try:
            if INSTANCE_KEY not in dict(await call.initial_metadata()):
                await call.read()  # it was not accepted, and this raises why
                return
            on_accepted()
            await self._exchange(call)
            died = False
        except grpc.aio.AioRpcError as error:
            trailers: Any = error.trailing_metadata() or ()
            died = ERROR_KEY not in dict(trailers)  # else these are the runner's own words
            raise
        finally:
            call.cancel()
            self.lose(died=died)

    async def _exchange(self, call: Any) -> None:
        writing = asyncio.ensure_future(self._write(call))
        try:
            while (message := await call.read()) is not EOF:
                self._settle(message)
        finally:
            writing.cancel()

    async def _write(self, call: Any) -> None:
        # A write to a broken stream fails; why it broke is what the reader raises.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                message = self._next_message()
                if self._outbox:  # not all of it went into one
                    self._wake.set()
                if message:
                    await call.write(message)

    def _next_message(self) -> bytes:
        """What is to be sent now, serialized; empty if there is nothing."""
        message, size = pb.ExecuteRequest(cancelled=self._cancelled), 0
        self._cancelled.clear()
        while self._outbox and size < MESSAGE_BYTES:
            call_id, (request, timeout_us, alone) = self._outbox.popitem(last=False)
            self._last_sent = call_id
            if len(request) >= LARGE_BYTES:
                return frame(call_id, request, timeout_us, alone, before=message.SerializeToString())
            message.calls.add(id=call_id, request=request, timeout_us=timeout_us, alone=alone)
            size += len(request)
        return message.SerializeToString()

    def _settle(self, message: bytes) -> None:
        if len(message) >= LARGE_BYTES and (sole := sole_response(message)):
            self._answer(*sole)
        else:
            for reply in pb.ExecuteResponse.FromString(message).replies:
                match reply.WhichOneof("outcome"):
                    case "response":
                        self._answer(reply.id, reply.response)
                    case "failure":
                        self._answer(reply.id, _error(reply.failure))
                    case _:
                        self._not_begun.discard(reply.id)

    def _answer(self, call_id: int, outcome: bytes | ModelyardError) -> None:
        future = self._pending.pop(call_id, None)
        if future is None or future.done():
            return
        if isinstance(outcome, bytes):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)

    def lose(self, *, died: bool) -> None:
        """Fail all calls that have no reply.

        They may have been executing if they were sent and the runner died; of one that is alone the runner has said so.
        """
        pending, self._pending = self._pending, {}
        self._outbox.clear()
        for call_id, future in pending.items():
            sent = died and call_id <= self._last_sent
            if not future.done():
                future.set_exception(InstanceLostError(executing=sent and call_id not in self._not_begun, sent=sent))


def _error(failure: pb.Failure) -> ModelyardError:
    retry_after_s = failure.retry_after_ms / 1000 if failure.retry_after_ms else None
    return from_status("INTERNAL", failure.error, failure.message, retry_after_s)
