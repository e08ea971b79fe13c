"""ModelStreamInfer: many calls in flight on one stream, each answered when it is done.

Requests and answers are serialized messages, which are not parsed where that can be avoided.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from modelyard.errors import InternalError, InvalidInputError, ModelyardError, UnavailableError
from modelyard.oip import messages
from modelyard.oip.parameters import EMPTY_FINAL_RESPONSE, read_flag, read_sequence
from modelyard.oip.tensors import parse_request
from modelyard.oip.wire import streamed, without_tensors
from modelyard.rpc.status import details_of

log = logging.getLogger(__name__)

Infer = Callable[[bytes, float | None], Awaitable[bytes]]
"""Executes a serialized ModelInferRequest within seconds (None: without end)."""
Answer = Callable[[], Coroutine[Any, Any, None]]
"""Executes a call of a stream and answers it."""

MAX_CALLS = 1024
"""So many calls of a stream are under way, or answered and not sent; then no more are read."""
MAX_BYTES = 64 << 20
"""So much they hold, at least one of them whatever its size."""
ERROR_PARAMETER = "modelyard-error"
"""In a failed answer's parameters: the name of a row of modelyard/errors.py."""
_ASKS_FOR_FINAL_BYTES = EMPTY_FINAL_RESPONSE.encode()
_final = messages.ModelInferResponse()
_final.parameters["triton_final_response"].bool_param = True
_FINAL = _final.SerializeToString()
"""What makes a serialized response the final one: messages that follow one another are merged."""
_NO_ANSWER = messages.ModelStreamInferResponse(error_message="internal error").SerializeToString()


class _Wishes(NamedTuple):
    """What a request asks of the stream: the order within a sequence, and that its answer says that it is the last."""

    sequence: tuple[str, str] | None = None
    final: bool = False


_NO_WISHES = _Wishes()


class StreamedCalls:
    """The calls of one stream. Those of one sequence are executed one after the other, all others at once."""

    def __init__(self, infer: Infer, timeout_s: float | None, stopping: asyncio.Event) -> None:
        """`timeout_s`: what is left of the stream's deadline; once `stopping` is set no more calls are taken."""
        self._infer = infer
        self._expires_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._stopping = stopping
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._tails: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._answers: list[bytes] = []
        self._count = 0
        self._held = 0
        self._held_bytes = 0
        self._ended = False
        self._answered = asyncio.Event()
        self._sent = asyncio.Event()

    async def answers(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield a serialized ModelStreamInferResponse for each request; a call that fails has an `error_message`.

        When the stream is left before its end, the calls that are under way are cancelled.

        Raises:
            UnavailableError: at the end, if it is one because the server stops and not because the client has ended.
        """
        reading = asyncio.ensure_future(self._read(requests))
        stop = asyncio.ensure_future(self._stop(reading))
        try:
            while batch := await self._next():
                for answer in batch:
                    yield answer
                    self._let_go(len(answer))
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()
            elif self._stopping.is_set():
                raise UnavailableError("this server is stopping")
        finally:
            tasks = [reading, stop, *self._calls.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        try:
            async for request in requests:
                self._begin(request)
                while self._held >= MAX_CALLS or self._held_bytes >= MAX_BYTES:
                    self._sent.clear()
                    await self._sent.wait()
        finally:
            self._ended = True
            self._answered.set()

    async def _stop(self, reading: asyncio.Future[None]) -> None:
        await self._stopping.wait()
        reading.cancel()

    async def _next(self) -> list[bytes]:
        """Wait for answers; none when the client has ended its side and nothing is under way."""
        while not self._answers and not (self._ended and not self._calls):
            self._answered.clear()
            await self._answered.wait()
        batch, self._answers = self._answers, []
        return batch

    def _begin(self, request: bytes) -> None:
        self._held += 1
        self._held_bytes += len(request)
        self._count += 1
        wishes = _wishes(request)
        answer: Answer = partial(self._answer, self._count, request, wishes.final)
        if wishes.sequence:
            answer = partial(self._follow, wishes.sequence, self._tails.get(wishes.sequence), answer)
        task = self._calls[self._count] = asyncio.get_running_loop().create_task(answer())
        if wishes.sequence:
            self._tails[wishes.sequence] = task

    async def _follow(self, sequence: tuple[str, str], previous: asyncio.Task[None] | None, answer: Answer) -> None:
        if previous:
            await asyncio.wait([previous])
        await answer()
        if self._tails[sequence] is asyncio.current_task():
            del self._tails[sequence]

    async def _answer(self, number: int, request: bytes, final: bool) -> None:
        answer = _NO_ANSWER
        try:
            answer = await self._executed(request, final)
        finally:
            del self._calls[number]
            self._held_bytes += len(answer) - len(request)
            self._answers.append(answer)
            self._answered.set()

    async def _executed(self, request: bytes, final: bool) -> bytes:
        try:
            response = await self._infer(request, self._left_s())
            return streamed(response + _FINAL if final else response)
        except ModelyardError as error:
            return _failure(request, error, final)
        except Exception:
            return _failure(request, _unforeseen(), final)

    def _left_s(self) -> float | None:
        return None if self._expires_s is None else max(0.0, self._expires_s - time.monotonic())

    def _let_go(self, answer_bytes: int) -> None:
        self._held -= 1
        self._held_bytes -= answer_bytes
        self._sent.set()


def _wishes(request: bytes) -> _Wishes:
    head = without_tensors(request)
    if b"sequence_id" not in head and _ASKS_FOR_FINAL_BYTES not in head:
        return _NO_WISHES
    try:
        parsed = parse_request(head)
        sequence = read_sequence(parsed.parameters)
        key = (parsed.model_name, str(sequence.id)) if sequence else None
        return _Wishes(key, read_flag(parsed.parameters, EMPTY_FINAL_RESPONSE))
    except InvalidInputError:  # whoever executes the call says the same, and more
        return _NO_WISHES


def _failure(request: bytes, error: ModelyardError, final: bool) -> bytes:
    try:
        request_id = parse_request(without_tensors(request)).id
    except InvalidInputError:
        request_id = ""
    response = messages.ModelInferResponse(id=request_id)
    response.parameters[ERROR_PARAMETER].string_param = type(error).__name__
    if final:
        response.MergeFrom(_final)
    failed = messages.ModelStreamInferResponse(error_message=details_of(error), infer_response=response)
    return failed.SerializeToString()


def _unforeseen() -> InternalError:
    request_id = uuid.uuid4().hex
    log.exception("unforeseen error in a streamed call", extra={"request_id": request_id})
    return InternalError(f"internal error, request id {request_id}")
