"""The calls of one execute stream: what is under way, and what is done but not yet sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from functools import partial

from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.frames import Call, begins, read_calls, reply
from modelyard_worker.runner.layouts import Buffer
from modelyard_worker.runner.loaded import LoadedModel
from modelyard_worker.runner.work import Work

MAX_MESSAGE_BYTES = 4 << 20
"""What would make a message larger goes into another: a reply may be as large as a message can be."""


class CallStream:
    """Submits the calls that come, and gathers their replies.

    Calls that are alone take turns, those of all streams of the process. Each is executed when its front door has been
    told that it begins: should the process die, it is known which of them it was.
    """

    def __init__(self, model: LoadedModel, turn: asyncio.Lock) -> None:
        """`turn` belongs to the process."""
        self._model = model
        self._turn = turn
        self._under_way: dict[int, Work] = {}
        self._suspects: dict[int, asyncio.Task[None]] = {}
        self._beginning: Work | None = None
        self._told = False
        self._done: deque[tuple[int, list[Buffer]]] = deque()
        self._ended = False
        self._wake = asyncio.Event()

    async def read(self, requests: AsyncIterator[bytes]) -> None:
        """Submit every call that comes, until the front door ends its side.

        Raises:
            InvalidInputError: what came is no ExecuteRequest.
        """
        try:
            async for request in requests:
                calls, cancelled = read_calls(request)
                for call_id in cancelled:
                    self._cancel(call_id)
                self._submit(calls)
        finally:
            self.end()

    async def replies(self) -> bytes:
        """Wait for replies, and return them as an ExecuteResponse; those returned before have been sent.

        Empty when the stream has ended and nothing is under way.
        """
        if self._told and self._beginning is not None:
            work, self._beginning = self._beginning, None
            self._model.submit(work)
        while not self._done and not (self._ended and not self._under_way and not self._suspects):
            self._wake.clear()
            await self._wake.wait()
        size, pieces = self._done.popleft() if self._done else (0, [])
        while self._done and size + self._done[0][0] <= MAX_MESSAGE_BYTES:
            reply_bytes, reply_pieces = self._done.popleft()
            size += reply_bytes
            pieces += reply_pieces
        self._told = not self._done
        return b"".join(pieces)

    def end(self, *_: object) -> None:
        """Take no more calls; those under way are finished."""
        self._ended = True
        self._wake.set()

    def cancel(self) -> None:
        """Nobody waits any more: take what is queued out of the queue."""
        for call_id in (*self._suspects, *self._under_way):
            self._cancel(call_id)

    def _cancel(self, call_id: int) -> None:
        if (waiting := self._suspects.pop(call_id, None)) is not None:
            waiting.cancel()
        work = self._under_way.get(call_id)
        if work is None:
            return
        if work is self._beginning:
            self._beginning = None
        elif not self._model.cancel(work):
            return
        self._end(call_id)

    def _end(self, call_id: int) -> None:
        work = self._under_way.pop(call_id, None)
        if work is not None and work.alone:
            self._turn.release()

    def _submit(self, calls: list[Call]) -> None:
        now_s = time.monotonic()
        works: list[Work] = []
        for call in calls:
            expires_s = now_s + call.timeout_us / 1e6 if call.timeout_us else None
            work = Work(call.request, expires_s, partial(self._finish, call.id), call.alone)
            if call.alone:
                self._suspects[call.id] = asyncio.ensure_future(self._begin(call.id, work))
            else:
                self._under_way[call.id] = work
                works.append(work)
        self._model.submit_all(works)

    async def _begin(self, call_id: int, work: Work) -> None:
        await self._turn.acquire()
        del self._suspects[call_id]
        self._under_way[call_id] = self._beginning = work
        self._told = False
        self._done.append(begins(call_id))
        self._wake.set()

    def _finish(self, call_id: int, outcome: Outcome) -> None:
        self._end(call_id)
        self._done.append(reply(call_id, outcome))
        self._wake.set()
