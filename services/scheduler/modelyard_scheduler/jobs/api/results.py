"""The results of a job as a file, read by range out of the pieces that its tasks have written.

Nothing is put together anywhere: which bytes the file has follows from the pieces, so any replica serves any range. A
download holds some chunks in memory, whatever the file's size, and reads in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from modelyard.datasets.chunked import Fetch
from modelyard.datasets.columns import Column
from modelyard.datasets.source import Source
from modelyard.errors import AbortedError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.jobs.harvest import Harvest, harvest
from modelyard.jobs.job import Job, ResultsHeader
from modelyard.jobs.planning import Plan
from modelyard.jobs.spec import ResultFormat
from modelyard.names import check_name
from modelyard_scheduler.jobs.outcomes import Outcomes
from modelyard_scheduler.jobs.records import Held, Records

PART_BYTES = 1 << 20
THREADS = 8
"""So many downloads read at the same time; others wait for their next part."""
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

    def within(self, size_bytes: int) -> range:
        """Where it lies in a file of that size. InvalidInputError: it begins behind its end."""
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

    def close(self) -> None:
        """Begin no more reading."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, job: str, wanted: Excerpt) -> AsyncGenerator[ResultsHeader | bytes, None]:
        """What a file is, then its bytes in parts of at most PART_BYTES. Before the job's end: of what is there.

        Raises:
            NotFoundError: there is no such job, or output.
            InvalidInputError: the range does not lie in the file; Parquet has no outputs; rows of an npy file differ.
            PreconditionError: the job's rows are not counted yet, so that there is no file.
            AbortedError: the file is another one by now.
            DataLossError: a piece is gone, or damaged.
            UnavailableError: Redis or the registry is away.
        """
        held, found = await self._read(check_name("job", job))
        columns, plan = _planned(held)
        columns = _columns(held.job, columns, wanted.output)
        harvested = harvest(plan, found.done, found.dead)
        if wanted.etag not in {"", harvested.etag}:
            raise AbortedError(f"job {job}: its results are others by now: their etag is {harvested.etag}")
        chosen = held.job.spec.inference.output.format
        file = await self._run(lambda: self._joined(chosen, columns, harvested, job))
        part = wanted.within(file.size_bytes)
        complete = plan.whole and not harvested.open
        yield ResultsHeader(chosen, file.size_bytes, harvested.rows, complete, harvested.etag)
        for begin in part[::PART_BYTES]:
            length = min(PART_BYTES, part.stop - begin)
            yield await self._run(lambda begin=begin, length=length: file.read(begin, length))  # type: ignore[misc]

    async def _read(self, job: str) -> tuple[Held, Outcomes]:
        """A job and what its tasks have come to; read again where they were stored, and left the queue, meanwhile."""
        held = await self._records.read(job)
        while True:
            found = await self._outcomes_of(held)
            again = await self._records.read(job)
            if again.job.outcomes == held.job.outcomes:
                return held, found
            held = again

    async def _run(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def _joined(self, chosen: ResultFormat, columns: tuple[Column, ...], harvested: Harvest, job: str) -> Source:
        from modelyard_scheduler.jobs.api import joining  # noqa: PLC0415 - it takes Arrow along

        if chosen is ResultFormat.PARQUET:
            return joining.parquet(columns, harvested.pieces(), self._fetch, job)
        [column] = columns
        return joining.npy(column, harvested.pieces(column.name), self._fetch, f"{job}: {column.name}")


def _planned(held: Held) -> tuple[tuple[Column, ...], Plan]:
    """The columns of its results, and its plan."""
    if held.job.found is None or held.plan is None:
        raise PreconditionError(f"job {held.job.id}: its rows were not counted yet, it is {held.job.state}; no results")
    return held.job.found.results, held.plan


def _columns(job: Job, columns: tuple[Column, ...], output: str) -> tuple[Column, ...]:
    """Which columns are in a file: all of Parquet, one of npy."""
    if job.spec.inference.output.format is ResultFormat.NPY:
        found = tuple(column for column in columns if column.name == output)
        if not found:
            names = ", ".join(repr(column.name) for column in columns)
            raise NotFoundError(f"job {job.id}: expected an output of {names}; got {output!r:.200}")
        return found
    if output:
        raise InvalidInputError(
            f"job {job.id}: Parquet has all outputs in one file: expected none, got {output!r:.200}"
        )
    return columns
