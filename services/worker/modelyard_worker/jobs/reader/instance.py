"""The instance where rows are executed: calls over an execute stream, a bounded number of them under way."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass

from modelyard.errors import (
    CancelledError,
    DeadlineError,
    ExhaustedError,
    ModelyardError,
    NotFoundError,
    UnavailableError,
)
from modelyard.oip.datatypes import DATATYPES
from modelyard.rpc.lane import InstanceLostError, Lane
from modelyard_worker.jobs.assignment import Target
from modelyard_worker.jobs.reader.endings import LostError, UndoneError
from modelyard_worker.jobs.reader.sizes import Sizes
from modelyard_worker.jobs.reader.turns import Turn, Turns

SILENCE_S = 60.0
LOOKS = 12
"""Silence is measured in so many parts, so that a pause of this very process does not count as the runner's."""
NOT_THE_ROWS = (UnavailableError, ExhaustedError, CancelledError, DeadlineError, NotFoundError)
"""Answers that say something of the instance, not of what it was sent."""


@dataclass(frozen=True)
class Answer:
    """What became of a call.

    Attributes:
        outcome: the serialized response, or what the model failed with.
        seconds: for which the runner executed it.
    """

    outcome: bytes | ModelyardError
    seconds: float


class Instance:
    """One that is READY, until it is not.

    Attributes:
        sizes: how many rows its calls have; what was learned stays from task to task.
    """

    def __init__(self, target: Target, silence_s: float = SILENCE_S) -> None:
        """`silence_s`: how long nothing may be answered while something is under way."""
        self.target = target
        self.sizes = sizes_of(target)
        self._silence_s = silence_s
        self._turns = Turns(target.copies)
        self._answers = 0
        self._lane: Lane | None = None
        self._conversing: asyncio.Future[None] | None = None
        self._end = "the runner ended the stream"

    async def send(self, request: bytes, rows: int, order: int, *, alone: bool = False) -> asyncio.Task[Answer]:
        """Send a serialized ModelInferRequest when it is its turn; return what will have the answer.

        That fails with a LostError or an UndoneError; to cancel it takes the call back.

        Args:
            request: what is sent.
            rows: how many it has.
            order: of all that wait, the lowest goes first.
            alone: it is to be known whether it was being executed when the runner dies; if not, it is undone.
        """
        turn = await self._turns.take(order)
        return asyncio.ensure_future(self._call(request, rows, turn, alone))

    async def _call(self, request: bytes, rows: int, turn: Turn, alone: bool) -> Answer:
        try:
            outcome = await self._answer(request, alone)
        finally:
            seconds = self._turns.give(turn)
        if isinstance(outcome, bytes):
            self.sizes.learn(rows, seconds, len(request) + len(outcome))
        return Answer(outcome, seconds)

    async def _answer(self, request: bytes, alone: bool) -> bytes | ModelyardError:
        lane = self._open()
        call_id, reply = lane.submit(request, alone=alone, background=True)
        try:
            return await self._heard(reply)
        except InstanceLostError as error:
            reason = f"{self.target.instance}: {self._end}"
            raise (LostError(reason) if error.executing else UndoneError(reason)) from error
        except NOT_THE_ROWS as error:
            raise UndoneError(f"{self.target.instance}: {error.message}") from error
        except ModelyardError as error:
            return error
        finally:
            lane.forget(call_id)

    async def _heard(self, reply: asyncio.Future[bytes]) -> bytes:
        """The reply, unless nothing at all is answered for too long."""
        looks, answers = LOOKS, self._answers
        while looks:
            await asyncio.wait([reply], timeout=self._silence_s / LOOKS)
            if reply.done():
                self._answers += 1
                return reply.result()
            looks = looks - 1 if self._answers == answers else LOOKS
            answers = self._answers
        reason = f"{self.target.instance}: rows were sent, and nothing was answered for {self._silence_s:g} s"
        raise LostError(reason, stuck=True)

    def _open(self) -> Lane:
        """The stream; a new one, if the last one has ended."""
        if self._lane is None or self._conversing is None or self._conversing.done():
            self._lane = Lane(self.target.instance)
            self._conversing = asyncio.ensure_future(self._converse(self._lane))
        return self._lane

    async def _converse(self, lane: Lane) -> None:
        try:
            await lane.converse(self.target.endpoint, lambda: None)
            self._end = "the runner ended the stream"
        except ModelyardError as error:
            self._end = error.message

    async def close(self) -> None:
        """Break the stream off; what is under way has an UndoneError or a LostError."""
        if self._conversing is not None:
            self._conversing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._conversing


def sizes_of(target: Target) -> Sizes:
    """What can be said of the rows of a call before there was one: a model may take just so many, or large ones."""
    inputs, outputs = target.signature.inputs, target.signature.outputs
    exact = next((spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] > 0), 0)
    row_bytes = sum(
        DATATYPES[spec.datatype].dtype.itemsize * math.prod(max(size, 1) for size in spec.shape[1:])
        for spec in (*inputs, *outputs)
    )
    return Sizes(exact=exact, most=target.max_batch_size, row_bytes=max(row_bytes, 1))
