"""One attempt at a task: its rows are read, executed and written, and the pieces stored.

What is read waits for its turn at the instance; what was answered is written in order. So a few portions are in memory,
however long the task is. A portion that the model fails on is halved until the rows at fault are alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

from modelyard.datasets.columns import Array
from modelyard.errors import ExhaustedError, InternalError, InvalidInputError, ModelyardError, UnavailableError
from modelyard.jobs.tasks import StoredPiece, TaskSpec
from modelyard.names import parse_reference
from modelyard.oip.raw import raw_outputs, raw_request
from modelyard.rpc.storing import Storing
from modelyard.tasks import to_its_end
from modelyard_worker.jobs.assignment import Begin, Executed, Failed, Lost, Report, Undone
from modelyard_worker.jobs.reader.datasets import Datasets
from modelyard_worker.jobs.reader.endings import LostError, UndoneError
from modelyard_worker.jobs.reader.faults import Faults
from modelyard_worker.jobs.reader.instance import Answer, Instance
from modelyard_worker.jobs.reader.pieces import Pieces
from modelyard_worker.jobs.reader.portions import Portion
from modelyard_worker.jobs.reader.reading import portions_of
from modelyard_worker.jobs.reader.sizes import bounded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Means:
    """What a task is executed with."""

    datasets: Datasets
    storing: Storing
    instance: Instance


class Execution:
    """An attempt, from its beginning to the report of its end."""

    def __init__(self, begin: Begin, means: Means, order: int) -> None:
        """`order`: of the attempts of an instance, the lowest goes first."""
        self._begin = begin
        self._means = means
        self._order = order
        self._model = parse_reference(begin.target.instance)
        self._faults = Faults()
        self._seconds = 0.0
        self._sent: deque[tuple[Portion, asyncio.Task[Answer]]] = deque()

    async def run(self) -> Report:
        """Execute the task; return what became of it. Cancelled, it leaves nothing behind."""
        try:
            return await self._run()
        except Exception as error:
            return self._ending(error)
        finally:
            await self._take_back()

    def _ending(self, error: Exception) -> Report:
        """What is reported of an attempt that came to nothing."""
        token = self._begin.token
        match error:
            case LostError():
                return Report(lost=Lost(token, str(error), error.begin, error.end, error.stuck))
            case UndoneError() | UnavailableError() | ExhaustedError() | OSError():
                return Report(undone=Undone(token, str(error)))
            case ModelyardError():
                return self._failed(error.message, permanent=isinstance(error, InvalidInputError))
        log.error("task failed for a reason that nobody foresaw", exc_info=error, extra={"task": self._begin.task})
        return self._failed(f"the reader failed: {type(error).__name__}")

    async def _run(self) -> Report:
        begin = self._begin
        with Pieces(begin.found.results, begin.spec.output.format) as pieces:
            opened = await self._means.datasets.take(begin)
            sizes = bounded(self._means.instance.sizes, begin.cautious_rows)
            portions = portions_of(TaskSpec.parse(begin.task), opened, self._faults, sizes)
            await self._execute(portions, pieces)
            self._means.datasets.give(begin, opened)
            if self._faults:
                return self._failed(self._faults.reason, permanent=self._faults.permanent)
            return Report(executed=Executed(begin.token, self._seconds, await self._store(pieces)))

    async def _execute(self, portions: Iterator[Portion], pieces: Pieces) -> None:
        most = self._means.instance.target.copies + 1
        while not self._faults.full and (read := await to_its_end(partial(self._read, portions))):
            if self._faults.permanent:
                continue  # the task is split in any case: only who else cannot be read is still to be found out
            self._sent.append((read[0], await self._send(*read)))
            while self._sent and (len(self._sent) > most or self._sent[0][1].done()):
                await self._settle(*self._sent.popleft(), pieces)
        while self._sent and not self._faults.full:
            await self._settle(*self._sent.popleft(), pieces)

    def _read(self, portions: Iterator[Portion]) -> tuple[Portion, bytes] | None:
        """The next portion, and the request that it makes; in a thread."""
        portion = next(portions, None)
        return None if portion is None else (portion, self._request(portion))

    def _request(self, portion: Portion) -> bytes:
        specs = self._begin.target.signature.inputs
        inputs = {spec.name: (spec.datatype, portion.inputs[spec.name]) for spec in specs}
        return raw_request(*self._model, inputs)

    async def _settle(self, portion: Portion, sent: asyncio.Task[Answer], pieces: Pieces) -> None:
        """Write what was answered; of what failed, find out which rows are at fault."""
        try:
            answer = await sent
        except LostError as error:
            raise LostError(str(error), *self._under_way(portion), stuck=error.stuck) from error
        self._seconds += answer.seconds
        failure = await to_its_end(partial(self._write, portion, answer.outcome, pieces))
        if failure is None:
            return
        if len(portion) <= self._means.instance.sizes.unit:
            for position, row in zip(portion.positions.tolist(), portion.rows.tolist(), strict=True):
                self._faults.note(position, row, failure.message)
            return
        for half in portion.halves():
            if not self._faults.full:
                request = await to_its_end(partial(self._request, half))
                await self._settle(half, await self._send(half, request), pieces)

    def _under_way(self, first: Portion) -> tuple[int, int]:
        """The rows that may have been executing when a portion was lost: it is known, or all that were lost with it."""
        lost = [] if self._begin.cautious_rows else [portion for portion, call in self._sent if call.done()]
        last = (lost or [first])[-1]
        return int(first.positions[0]), int(last.positions[-1]) + 1

    async def _send(self, portion: Portion, request: bytes) -> asyncio.Task[Answer]:
        alone = self._begin.cautious_rows > 0
        return await self._means.instance.send(request, len(portion), self._order, alone=alone)

    def _write(self, portion: Portion, outcome: bytes | ModelyardError, pieces: Pieces) -> ModelyardError | None:
        """Write the results of a portion; return what the model failed with, if it did. In a thread."""
        if isinstance(outcome, ModelyardError):
            return outcome
        try:
            results = outputs_of(outcome, len(portion))
        except InternalError as error:
            return error
        if not self._faults:  # else the pieces are not wanted any more
            key = {} if portion.key is None else {self._begin.spec.output.key_column: portion.key}
            pieces.write(results | key)
        return None

    async def _store(self, pieces: Pieces) -> tuple[StoredPiece, ...]:
        begin, stored = self._begin, []
        for output, piece, file in await to_its_end(pieces.finish):
            kept = await self._means.storing.store(
                cast(BinaryIO, file), piece.size_bytes, tenant=begin.tenant, upload=f"{begin.job}.{begin.task}"
            )
            stored.append(StoredPiece(output, piece.rows, piece.size_bytes, kept.chunks, piece.shape))
        return tuple(stored)

    def _failed(self, reason: str, *, permanent: bool = False) -> Report:
        failed = Failed(self._begin.token, reason, self._seconds, self._faults.positions, permanent)
        return Report(failed=failed)

    async def _take_back(self) -> None:
        """Take back the calls that are under way."""
        calls = [sent for _, sent in self._sent]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


def outputs_of(response: bytes, rows: int) -> dict[str, Array]:
    """The outputs of a response to so many rows.

    Raises:
        InternalError: it is none, or an output has another number of rows.
    """
    outputs = {name: array for name, (_, array) in raw_outputs(response).items()}
    for name, array in outputs.items():
        if not array.ndim or len(array) != rows:
            raise InternalError(f"output {name!r}: expected {rows} rows, as were sent; got {list(array.shape)}")
    return outputs
