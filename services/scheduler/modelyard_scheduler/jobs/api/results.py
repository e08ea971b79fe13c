"""The results of a job as a file, read by range out of the pieces that its tasks have written.

Nothing is put together anywhere: which bytes the file has follows from the pieces, so any replica serves any range. A
download holds some chunks in memory, whatever the file's size, and reads in a thread. The next range of the same file
is read from it as it was opened for the last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modelyard.datasets.chunked import Fetch
from modelyard.datasets.columns import Column
from modelyard.errors import (
    AbortedError,
    ExhaustedError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
)
from modelyard.jobs.harvest import Harvest, harvest
from modelyard.jobs.job import Job, ResultsHeader
from modelyard.jobs.planning import Plan
from modelyard.jobs.spec import ResultFormat
from modelyard.jobs.states import JobState
from modelyard.names import check_name
from modelyard_scheduler.jobs.api.files import FileKey, Files, Opened
from modelyard_scheduler.jobs.api.pieces import StoredPieces
from modelyard_scheduler.jobs.outcomes import Outcomes
from modelyard_scheduler.jobs.records import Held, Records

PART_BYTES = 1 << 20
THREADS = 8
"""So many downloads read at the same time; others wait for their next part."""
MOST_READERS = 32
"""So many read at a time, each of whom holds up to pieces.HELD_BYTES."""
BUSY_RETRY_AFTER_S = 2.0
_SETTLED = {JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED, JobState.CANCELLED}
"""States that are written with all outcomes. Of what has FAILED some may be to come."""
T = TypeVar("T")


@dataclass(frozen=True)
class Excerpt:
    """What is wanted of which file.

    Attributes:
        output: of npy, which; empty: of Parquet.
        length: 0: to the end.
        etag: which the file must have; empty: any.
    """

    output: str = ""
    offset: int = 0
    length: int = 0
    etag: str = ""

    def of(self, header: ResultsHeader, job: str) -> range:
        """Where it lies in a job's file.

        Raises:
            AbortedError: the file is another one.
            InvalidInputError: it begins behind the file's end.
        """
        if self.etag not in {"", header.etag}:
            raise AbortedError(f"job {job}: its results are others by now: their etag is {header.etag}")
        size_bytes = header.size_bytes
        if not 0 <= self.offset <= size_bytes:
            raise InvalidInputError(f"offset: expected 0 to {size_bytes}, the size of the file; got {self.offset}")
        if self.length < 0:
            raise InvalidInputError(f"length: expected 0 or more, got {self.length}")
        end = self.offset + self.length if self.length else size_bytes
        return range(self.offset, min(end, size_bytes))


class Results:
    """Files of results."""

    def __init__(self, records: Records, outcomes_of: Callable[[Held], Awaitable[Outcomes]], fetch: Fetch) -> None:
        """Read nothing yet; `close` it in the end.

        Args:
            records: of the jobs.
            outcomes_of: what a job's tasks have come to.
            fetch: begins to fetch a chunk from the artifact store; it is called in threads.
        """
        self._records = records
        self._outcomes_of = outcomes_of
        self._fetch = fetch
        self._threads = ThreadPoolExecutor(THREADS, "results")
        self._files = Files()
        self._readers = 0

    def close(self) -> None:
        """Begin no more reading."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, job: str, wanted: Excerpt) -> AsyncGenerator[ResultsHeader | bytes, None]:
        """What a file is, then its bytes in parts of at most PART_BYTES. Before the job's end: of what is there.

        Raises:
            NotFoundError: there is no such job, or output.
            InvalidInputError: the range does not lie in the file; Parquet has no outputs, npy needs one; rows of an npy
                file differ.
            PreconditionError: the job's rows are not counted yet, so that there is no file.
            AbortedError: the file is another one by now.
            DataLossError: a piece is gone, or damaged.
            ExhaustedError: MOST_READERS read results now.
            UnavailableError: Redis or the registry is away.
        """
        with self._reader(job):
            key, file = await self._opened(check_name("job", job), wanted.output)
            try:
                part = wanted.of(file.header, job)
            except ModelyardError:
                self._files.give_back(key, file)
                raise
            yield file.header
            for begin in part[::PART_BYTES]:
                length = min(PART_BYTES, part.stop - begin)
                yield await self._run(partial(file.source.read, begin, length))
            # Where this was broken off a thread may still read it, so that it is not given back.
            self._files.give_back(key, file)

    @contextlib.contextmanager
    def _reader(self, job: str) -> Iterator[None]:
        if self._readers >= MOST_READERS:
            message = f"job {job}: {MOST_READERS} read results now, which is as many as can"
            raise ExhaustedError(message, retry_after_s=BUSY_RETRY_AFTER_S)
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    async def _opened(self, job: str, output: str) -> tuple[FileKey, Opened]:
        """A file, and what it is known by while it is kept."""
        held = await self._records.read(job)
        _ = held.job.spec.rows
        key = FileKey(job, _stamp(held), output)
        if file := self._files.take(key):
            return key, file
        held, harvested = await self._harvest(held)
        key = FileKey(job, _stamp(held, harvested), output)
        if file := self._files.take(key):
            return key, file
        return key, await self._run(partial(self._open, held, harvested, output))

    async def _harvest(self, held: Held) -> tuple[Held, Harvest]:
        """What its tasks have come to; read again where they were stored, and left the queue, meanwhile."""
        while True:
            found = await self._outcomes_of(held)
            again = await self._records.read(held.job.id)
            if again.job.outcomes == held.job.outcomes:
                return held, await asyncio.to_thread(harvest, _plan(held), found.done, found.dead)
            held = again

    async def _run(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _open(self, held: Held, found: Harvest, output: str) -> Opened:
        """In a thread, for pieces are read."""
        from modelyard_scheduler.jobs.api import joining  # noqa: PLC0415 - it takes Arrow along

        job = held.job
        columns = _columns(job, output)
        pieces = StoredPieces(found.pieces(output), self._fetch)
        if job.spec.inference.output.format is ResultFormat.PARQUET:
            source = joining.parquet(columns, pieces, job.id)
        else:
            source = joining.npy(columns[0], pieces, f"{job.id}: {output}")
        complete = found.rows + found.dead_rows == _plan(held).rows
        header = ResultsHeader(job.spec.inference.output.format, source.size_bytes, found.rows, complete, found.etag)
        return Opened(header, source, pieces, len(pieces.pieces))


def _stamp(held: Held, found: Harvest | None = None) -> str:
    """Another one for other results; those of a job that is settled change with its record, all others at any time."""
    if held.job.state in _SETTLED:
        return f"revision {held.revision}"
    return f"etag {found.etag} {found.dead_rows}" if found else ""


def _plan(held: Held) -> Plan:
    if held.job.found is None or held.plan is None:
        raise PreconditionError(f"job {held.job.id}: its rows were not counted yet, it is {held.job.state}; no results")
    return held.plan


def _columns(job: Job, output: str) -> tuple[Column, ...]:
    """Which columns are in a file: all of Parquet, one of npy."""
    columns = job.found.results if job.found else ()
    if job.spec.inference.output.format is ResultFormat.NPY:
        found = tuple(column for column in columns if column.name == output)
        names = ", ".join(repr(column.name) for column in columns)
        if not output:
            raise InvalidInputError(f"job {job.id}: npy has a file for each output: expected one of {names}, got none")
        if not found:
            raise NotFoundError(f"job {job.id}: expected an output of {names}; got {output!r:.200}")
        return found
    if output:
        raise InvalidInputError(
            f"job {job.id}: Parquet has all outputs in one file: expected none, got {output!r:.200}"
        )
    return columns
