"""The calls of one execute stream: what is under way, and what is done but not yet sent."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial

from modelyard.errors import InvalidInputError
from modelyard.rpc.frames import Buffer, Frames
from modelyard.tasks import stop_on_failure
from modelyard_worker.runner.evaluation import Outcome
from modelyard_worker.runner.frames import LAST, Call, begins, read_calls, reply
from modelyard_worker.runner.loaded import LoadedModel
from modelyard_worker.runner.work import Work

MAX_MESSAGE_BYTES = 4 << 20
"""What would make a message larger goes into another: a reply may be as large as a message can be."""


class CallStream:
    """Submits the calls that come, and sends their replies, all that are done in one turn of the event loop together.

    Calls that are alone take turns, those of all streams of the process. Each is executed when its front door has been
    told that it begins: should the process die, it is known which of them it was.
    """

    def __init__(self, model: LoadedModel, turn: asyncio.Lock, frames: Frames) -> None:
        """`turn` belongs to the process."""
        self._model = model
        self._turn = turn
        self._frames = frames
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[int, Work] = {}
        self._suspects: dict[int, asyncio.Task[None]] = {}
        self._done: deque[tuple[int, list[Buffer]]] = deque()
        self._sending: asyncio.Handle | None = None
        self._ended = False

    def receive(self, message: Buffer) -> None:
        """Submit the calls of a message, take those that it cancels out of the queue.

        Raises:
            InvalidInputError: it is no ExecuteRequest, or the id of a call is that of another.
        """
        calls, cancelled = read_calls(message)
        for call_id in cancelled:
            self._cancel(call_id)
        if calls and not self._ended:
            self._submit(calls)

    def execute(self) -> None:
        """All that has come has been received: of a quick model, execute it now, and send the replies."""
        self._model.take_turn()
        if self._sending is not None:
            self._sending.cancel()
            self._send()

    def end(self, *_: object) -> None:
        """Take no more calls; those under way are finished, then the front door is told that this was all."""
        self._ended = True
        self.send_soon()

    def cancel(self) -> None:
        """Nobody waits any more: take what is queued out of the queue."""
        for call_id in (*self._suspects, *self._under_way):
            self._cancel(call_id)

    def send_soon(self) -> None:
        """Send what is done when this turn of the event loop is over, if the front door keeps up."""
        if self._sending is None and self._frames.writable:
            self._sending = self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._sending = None
        while self._done and self._frames.writable:
            size, pieces = self._done.popleft()
            while self._done and size + self._done[0][0] <= MAX_MESSAGE_BYTES:
                reply_bytes, reply_pieces = self._done.popleft()
                size += reply_bytes
                pieces += reply_pieces
            self._frames.send(pieces)
        if self._ended and not (self._done or self._under_way or self._suspects):
            self._frames.send((LAST,))
            self._frames.close()

    def _cancel(self, call_id: int) -> None:
        if (waiting := self._suspects.pop(call_id, None)) is not None:
            waiting.cancel()
            return
        work = self._under_way.get(call_id)
        if work is not None and self._model.cancel(work):
            self._end(call_id)

    def _end(self, call_id: int) -> None:
        work = self._under_way.pop(call_id, None)
        if work is not None and work.alone:
            self._turn.release()

    def _submit(self, calls: list[Call]) -> None:
        now_s = time.monotonic()
        works: list[Work] = []
        for call in calls:
            if call.id in self._under_way or call.id in self._suspects:
                raise InvalidInputError(f"call {call.id}: expected an id of its own, another call under way has it")
            expires_s = now_s + call.timeout_us / 1e6 if call.timeout_us else None
            work = Work(call.request, expires_s, partial(self._finish, call.id), call.alone, call.background)
            if call.alone:
                self._suspects[call.id] = task = asyncio.ensure_future(self._begin(call.id, work))
                task.add_done_callback(stop_on_failure)
            else:
                self._under_way[call.id] = work
                works.append(work)
        self._model.submit_all(works)

    async def _begin(self, call_id: int, work: Work) -> None:
        """Execute a call that is alone: when it is its turn, and its front door has been told so."""
        await self._turn.acquire()
        try:
            self._frames.send(begins(call_id)[1])
            told = await self._frames.flushed()
        except asyncio.CancelledError:
            self._turn.release()
            raise
        del self._suspects[call_id]
        self._under_way[call_id] = work
        if told:
            self._model.submit(work)
        else:
            self._end(call_id)

    def _finish(self, call_id: int, outcome: Outcome) -> None:
        self._end(call_id)
        self._done.append(reply(call_id, outcome))
        self.send_soon()
