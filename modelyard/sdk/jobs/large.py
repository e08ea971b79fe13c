"""Calls that are too large, or take too long, for a connection that waits: jobs underneath."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelyard.catalogue import Version
from modelyard.errors import InvalidInputError, ModelyardError
from modelyard.jobs.job import DeadLetter, Job
from modelyard.jobs.spec import ResultFormat
from modelyard.jobs.states import JobState
from modelyard.results import Array
from modelyard.sdk.jobs.calls import JobCalls
from modelyard.sdk.jobs.datasets import Rows
from modelyard.sdk.jobs.options import JobOptions
from modelyard.sdk.jobs.outcome import MOST_NAMED, check_succeeded, dead_rows
from modelyard.sdk.versions import VersionCalls

BATCH_ROWS = 1024
CANCEL_S = 5.0
OnJob = Callable[[Job], None]
OnDead = Callable[[Sequence[DeadLetter]], None]


class PendingCall:
    """A call that was taken, and whose answer can be fetched, here or by another process that has its `id`."""

    def __init__(self, jobs: JobCalls, id: str) -> None:  # noqa: A002 (what it is)
        self.id = id
        self._jobs = jobs

    async def done(self) -> bool:
        """Whether `result` would return, or raise, without waiting; raise NotFoundError if nobody knows the call."""
        return (await self._jobs.get(self.id)).ended

    async def cancel(self) -> None:
        """Give up the call; raise PreconditionError if it is done."""
        await self._jobs.cancel(self.id)

    async def result(self, timeout_s: float | None = None) -> dict[str, Array]:
        """Wait for the answer and return the model's outputs by name, as `infer` does. It can be asked for again.

        Args:
            timeout_s: how long to wait; None: as long as it takes.

        Raises:
            NotFoundError: nobody knows the call (any more).
            ModelExecutionError: the model failed on these inputs.
            PreconditionError: they do not fit the model, or the call took longer than it may.
            CancelledError: it was cancelled.
            DeadlineError: it is not done in time.
            UnavailableError: nothing answered for as long as the client's timeout.
        """
        job = await self._jobs.wait(self.id, timeout_s)
        await check_rows(self._jobs, job, None)
        with tempfile.TemporaryDirectory(prefix="modelyard-results-") as directory:
            arrays = await fetch(self._jobs, job, Path(directory))
            return await asyncio.to_thread(_rows, arrays, 0, None)


class LargeCalls(VersionCalls):
    """Calls of models whose first dimensions are rows. A `name` may be `name@version_or_alias`."""

    jobs: JobCalls

    async def submit(
        self, name: str, inputs: Mapping[str, npt.ArrayLike], options: JobOptions | None = None, *, version: str = ""
    ) -> PendingCall:
        """Call a model without waiting for its answer, which is kept for some days: see `PendingCall.result`.

        Args:
            name: the model.
            inputs: an array for each input, with the same number of rows.
            options: priority, deadline and attempts.
            version: a version or an alias; the newest where none is named.

        Raises:
            InvalidInputError, NotFoundError, ExhaustedError, UnavailableError: as `jobs.submit`.
        """
        return PendingCall(self.jobs, (await self._begin(name, inputs, options, version)).id)

    def handle(self, id: str) -> PendingCall:  # noqa: A002 (what it is)
        """Take up a call by its id, which is looked at when the call is used."""
        return PendingCall(self.jobs, id)

    async def map(
        self,
        name: str,
        rows: Rows,
        options: JobOptions | None = None,
        *,
        version: str = "",
        batch_rows: int = BATCH_ROWS,
        progress: OnJob | None = None,
        dead: OnDead | None = None,
    ) -> AsyncGenerator[dict[str, Array], None]:
        """Execute a model on all rows, however many, and yield its outputs, in the order of the rows.

        The first batch comes when the last row has ended, from files in the temporary directory that are as large as
        all outputs. Who stops before cancels the job. If the server cannot be reached for long the job goes on: where
        the options had a request id the same call takes it up again.

        Args:
            name: the model.
            rows: as `jobs.submit` takes them.
            options: how it is done, but for the format, and the order, which are those of here.
            version: a version or an alias; the newest where none is named.
            batch_rows: so many are yielded at a time; only the last are fewer.
            progress: called in the client's event loop with the job whenever it got on.
            dead: called before the first batch, if rows were given up, with all of these. The outputs are those of the
                other rows then.

        Yields:
            Arrays [batch_rows, ...] by the outputs' names.

        Raises:
            InvalidInputError, NotFoundError, ExhaustedError, UnavailableError: as `jobs.submit`.
            ModelExecutionError: rows were given up, and nobody is called with them; the message names some.
            PreconditionError: the job has FAILED.
            CancelledError: it was cancelled.
        """
        if batch_rows < 1:
            raise InvalidInputError(f"batch_rows: expected at least 1, got {batch_rows}")
        job = await self._begin(name, rows, options, version)
        await self._follow(job, progress)
        job = await self.jobs.get(job)
        await check_rows(self.jobs, job, dead)
        with tempfile.TemporaryDirectory(prefix="modelyard-results-") as directory:
            arrays = await fetch(self.jobs, job, Path(directory))
            for begin in range(0, min(map(len, arrays.values())), batch_rows):
                yield await asyncio.to_thread(_rows, arrays, begin, begin + batch_rows)

    async def _begin(self, name: str, rows: Rows, options: JobOptions | None, version: str) -> Job:
        """Submit a job whose outputs can be yielded as arrays."""
        options = options or JobOptions()
        if options.shard_by or options.key_column:
            raise InvalidInputError("options: expected no key, the order of the outputs is that of the rows")
        _check_outputs(await self.version(name, version))
        return await self.jobs.submit(name, rows, replace(options, format=ResultFormat.NPY), version=version)

    async def _follow(self, job: Job, progress: OnJob | None) -> None:
        """Return when a job has ended; if nobody waits for that any more, cancel it."""
        try:
            async with contextlib.aclosing(self.jobs.watch(job)) as events:
                async for event in events:
                    if progress and event.job:
                        progress(event.job)
        except ModelyardError:
            raise
        except BaseException:
            # Told is why it stopped; that the job could not be cancelled in time is less than that.
            with contextlib.suppress(ModelyardError, TimeoutError):
                async with asyncio.timeout(CANCEL_S):
                    await self.jobs.cancel(job)
            raise


def _check_outputs(version: Version) -> None:
    text = [spec.name for spec in version.signature.outputs if spec.datatype == "BYTES"]
    if text:
        raise InvalidInputError(
            f"{version.model}@{version.version}: output {text[0]!r} is of BYTES, which npy cannot hold: submit a job "
            f"that writes parquet"
        )


async def check_rows(jobs: JobCalls, job: Job, dead: OnDead | None) -> None:
    """Tell of rows that were given up, or raise as `PendingCall.result` does if nobody wants to be told."""
    found = job.progress
    none_left = job.state is JobState.FAILED and found.dead_rows and found.dead_rows == found.rows
    if not (none_left or job.state is JobState.PARTIALLY_SUCCEEDED):
        check_succeeded(job)
        return
    told = None if none_left else dead
    letters = await jobs.dead_letters(job, limit=0 if told else MOST_NAMED + 1)
    if told is None:
        raise dead_rows(job, letters)
    told(letters)


async def fetch(jobs: JobCalls, job: Job, directory: Path) -> dict[str, Array]:
    """The results of a job that writes npy: an array of each output, which reads its file when it is read."""
    inference = job.spec.inference
    outputs = (await jobs.version(inference.model, inference.version)).signature.outputs
    arrays: dict[str, Array] = {}
    for number, spec in enumerate(outputs):
        path = directory / f"{number}.npy"
        await jobs.results(job, path, spec.name)
        arrays[spec.name] = np.load(path, mmap_mode="r", allow_pickle=False)
    return arrays


def _rows(arrays: Mapping[str, Array], begin: int, end: int | None) -> dict[str, Array]:
    """Rows of all arrays, read from their files."""
    return {name: np.array(array[begin:end]) for name, array in arrays.items()}
