"""One execute stream to a runner: requests out, as many in one message as are at hand, and every call its reply."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from modelyard.errors import ModelyardError, UnavailableError, from_status
from modelyard.rpc.callframes import Outgoing, call_frame, read_response, sole_response
from modelyard.rpc.frames import Buffer, Frames
from modelyard.v1 import runner_pb2 as pb

LARGE_BYTES = 256 << 10
"""Requests from this size on are framed by hand, each in a message of its own."""
MESSAGE_BYTES = 1 << 20
"""No message gets a further call once it has this size."""
CONNECT_S = 3.0
ACCEPT_S = 6.0
"""From the attempt to connect to the runner's acceptance."""


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
    """The calls of one stream. Calls may be submitted at once; they are sent when the runner has accepted it."""

    def __init__(self, instance: str) -> None:
        """`instance` is "model@version"."""
        self._instance = instance
        self._outbox: OrderedDict[int, Outgoing] = OrderedDict()
        self._cancelled: list[int] = []
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._not_begun: set[int] = set()
        self._last_id = 0
        self._last_sent = 0
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(self._receive, on_writable=self._flush_soon)
        self._flushing: asyncio.Handle | None = None
        self._accepted = False
        self._refusal: ModelyardError | None = None
        self._in_order = False
        self._on_accepted: Callable[[], None] = lambda: None

    def submit(
        self, request: bytes, timeout_s: float | None = None, *, alone: bool = False, background: bool = False
    ) -> tuple[int, asyncio.Future[bytes]]:
        """Return the id of a call and the future response to its serialized request.

        It fails with an InstanceLostError when the lane breaks, with a ModelyardError when the runner answers one. Who
        does not wait for it any more says so to `forget`.
        """
        self._last_id = call_id = self._last_id + 1
        timeout_us = 0 if timeout_s is None else max(1, int(timeout_s * 1e6))
        reply = self._pending[call_id] = self._loop.create_future()
        self._outbox[call_id] = Outgoing(call_id, request, timeout_us, alone, background)
        if alone:
            self._not_begun.add(call_id)
        if len(self._pending) == 1 and self._accepted:
            self._flush()  # where one call comes at a time there is nothing to wait for
        else:
            self._flush_soon()
        return call_id, reply

    def forget(self, call_id: int) -> None:
        """Take back a call that nobody waits for any more: it is not sent, or leaves the runner's queue."""
        self._not_begun.discard(call_id)
        self._outbox.pop(call_id, None)
        if self._pending.pop(call_id, None) is not None and call_id <= self._last_sent:
            self._cancelled.append(call_id)
            self._flush_soon()

    async def converse(self, endpoint: str, on_accepted: Callable[[], None]) -> None:
        """Exchange calls and replies until the runner ends it in order, then lose those that are left.

        Args:
            endpoint: host:port.
            on_accepted: called when the runner has said that it holds the instance.

        Raises:
            UnavailableError: the runner was not reached, or the connection broke.
            ModelyardError: why the runner did not accept it, or did not go on.
        """
        self._on_accepted = on_accepted
        accepting = self._loop.call_later(ACCEPT_S, self._give_up)
        try:
            await self._connect(endpoint)
            self._frames.send((pb.ExecuteRequest(instance=self._instance).SerializeToString(),))
            reason = await asyncio.shield(self._frames.closed)
            if self._refusal is not None:
                raise self._refusal
            if not self._in_order:
                raise UnavailableError(reason or "the runner closed the connection")
        finally:
            accepting.cancel()
            self._frames.abort("given up")
            self.lose(died=not self._in_order and self._refusal is None)

    async def _connect(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(lambda: self._frames, host.strip("[]"), int(port))
        except TimeoutError:
            raise UnavailableError(f"no connection to {endpoint!r} within {CONNECT_S:g} s") from None
        except (OSError, ValueError) as error:
            raise UnavailableError(f"no connection to {endpoint!r}: {error}") from error

    def _give_up(self) -> None:
        """It need not be a runner that has the port by now."""
        if not self._accepted:
            self._frames.abort(f"nothing accepted the stream within {ACCEPT_S:g} s")

    def _flush_soon(self) -> None:
        """Send what is there when this turn of the event loop is over: till then more may come."""
        if self._flushing is None and self._accepted and self._frames.writable:
            self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = None
        while self._frames.writable and (self._outbox or self._cancelled):
            self._frames.send(self._next_message())

    def _next_message(self) -> list[Buffer]:
        """What is to be sent now, in pieces."""
        message, size = pb.ExecuteRequest(cancelled=self._cancelled), 0
        self._cancelled.clear()
        while self._outbox and size < MESSAGE_BYTES:
            call_id, call = self._outbox.popitem(last=False)
            self._last_sent = call_id
            if len(call.request) >= LARGE_BYTES:
                return [message.SerializeToString(), *call_frame(call)]
            _add(message, call)
            size += len(call.request)
        return [message.SerializeToString()]

    def _receive(self, message: Buffer) -> None:
        if len(message) >= LARGE_BYTES and (sole := sole_response(message)):
            self._answer(*sole)
            return
        if (response := read_response(message)) is None:
            self._frames.abort(f"expected an ExecuteResponse, got {len(message)} bytes that are none")
            return
        for reply in response.replies:
            match reply.WhichOneof("outcome"):
                case "response":
                    self._answer(reply.id, reply.response)
                case "failure":
                    self._answer(reply.id, _error(reply.failure))
                case _:
                    self._not_begun.discard(reply.id)
        if response.accepted or response.last or response.HasField("refusal"):
            self._on_state(response)

    def _on_state(self, response: pb.ExecuteResponse) -> None:
        if response.accepted:
            self._accepted = True
            self._flush_soon()
            self._on_accepted()
            return
        self._in_order = response.last
        if response.HasField("refusal"):
            self._refusal = _error(response.refusal)
        self._frames.close()

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


def _add(message: pb.ExecuteRequest, call: Outgoing) -> None:
    message.calls.add(
        id=call.id, request=call.request, timeout_us=call.timeout_us, alone=call.alone, background=call.background
    )


def _error(failure: pb.Failure) -> ModelyardError:
    retry_after_s = failure.retry_after_ms / 1000 if failure.retry_after_ms else None
    return from_status("INTERNAL", failure.error, failure.message, retry_after_s)
