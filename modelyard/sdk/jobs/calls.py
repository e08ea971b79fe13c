"""Jobs: submitted, looked at, changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path

from modelyard.errors import DeadlineError, UnavailableError
from modelyard.jobs.job import DeadLetter, Job, JobEvent, ResultsHeader
from modelyard.jobs.listing import JobFilter
from modelyard.jobs.states import JobState
from modelyard.names import parse_reference
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import resolve
from modelyard.sdk.jobs.datasets import Rows
from modelyard.sdk.jobs.download import ResultsDownload
from modelyard.sdk.jobs.options import JobOptions
from modelyard.sdk.jobs.training import TrainingCalls
from modelyard.sdk.meter import OnProgress
from modelyard.sdk.pages import pages
from modelyard.sdk.settings import check_timeout
from modelyard.v1 import jobs_pb2 as pb


def id_of(job: Job | str) -> str:
    """The id of a job, which may stand for it."""
    return job if isinstance(job, str) else job.id


class JobCalls(TrainingCalls):
    """Jobs. A `job` is what `submit` or `get` returned, or its id."""

    async def submit(
        self,
        name: str,
        rows: Rows,
        options: JobOptions | None = None,
        *,
        version: str = "",
        progress: OnProgress | None = None,
    ) -> Job:
        """Have a model executed on every row of a dataset; return at once, the job is QUEUED.

        Args:
            name: the model, or `model@version_or_alias`.
            rows: a file or a directory of images, of which is sent what the registry lacks; an artifact that is there,
                as `Artifact` or "sha256:DIGEST" or "sha256:DIGEST/PATH"; a URL that the server allows; or arrays
                [rows, ...] by the inputs' names, of a model with one input the array alone. These are sent with the
                call if they have at most 8 MiB.
            options: how it is done.
            version: a version or an alias; the newest where none is named. The job keeps what it means now.
            progress: called in the client's event loop with what has been read and sent.

        Raises:
            InvalidInputError: a value makes no sense, or there is no such file. What only dataset and model can tell,
                an unknown column for instance, fails the job later.
            NotFoundError: no such model or version.
            AlreadyExistsError: the request id was used for another job.
            ExhaustedError: the tenant has as much queued as it may have; later it may be accepted.
            UnavailableError: nothing answered in time. It may have been accepted: with a request id it can be repeated.
        """
        reference, options = resolve(name, version), options or JobOptions()
        options.check(reference)
        dataset = await self.dataset(reference, rows, options, progress)
        return await self._accepted(options.spec(reference, dataset), options.request_id)

    async def get(self, job: Job | str) -> Job:
        """Return a job as it is now; raise NotFoundError if there is none of that id."""
        request = build(pb.GetJobRequest, id=id_of(job))
        return convert.job_from_pb(await self._connection.call(self._connection.jobs.GetJob, request))

    async def list(
        self, *, states: Collection[JobState] = (), model: str = "", tenant: str = "", limit: int = 100
    ) -> Sequence[Job]:
        """Return jobs, the newest first.

        Args:
            states: only those in one of them; in any where empty.
            model: only those of this model.
            tenant: only those of this tenant; of any where empty.
            limit: no more than so many; 0: all.
        """
        name = parse_reference(model).model if model else ""
        request = convert.job_filter_to_pb(JobFilter(frozenset(states), name, tenant))
        found: list[Job] = []
        method = self._connection.jobs.ListJobs
        async with contextlib.aclosing(pages(self._connection, method, request, limit=limit)) as listing:
            async for page in listing:
                found += map(convert.job_from_pb, page.jobs)
                if limit and len(found) >= limit:
                    return found[:limit]
        return found

    async def cancel(self, job: Job | str) -> Job:
        """End a job; results that are there stay. One that is CANCELLING or CANCELLED stays that.

        Raises:
            NotFoundError: no such job.
            PreconditionError: it has ended otherwise.
        """
        request = build(pb.CancelJobRequest, id=id_of(job))
        return convert.job_from_pb(await self._connection.call(self._connection.jobs.CancelJob, request))

    async def pause(self, job: Job | str) -> Job:
        """Begin no task of a job any more; those that are executing go on.

        Raises:
            NotFoundError: no such job.
            PreconditionError: nothing of it is left to be begun.
        """
        request = build(pb.PauseJobRequest, id=id_of(job))
        return convert.job_from_pb(await self._connection.call(self._connection.jobs.PauseJob, request))

    async def resume(self, job: Job | str) -> Job:
        """Go on with a job that is PAUSED.

        Raises:
            NotFoundError: no such job.
            PreconditionError: it is not PAUSED, nor on its way.
        """
        request = build(pb.ResumeJobRequest, id=id_of(job))
        return convert.job_from_pb(await self._connection.call(self._connection.jobs.ResumeJob, request))

    async def watch(self, job: Job | str, after_event: int = 0) -> AsyncGenerator[JobEvent, None]:
        """Yield what happens to a job, each event once and in order, until it has ended.

        First comes a SNAPSHOT, the whole job as it is. The watch goes on by itself after restarts of whatever lies
        between; a SNAPSHOT in the middle says that it was away too long to be told everything.

        Args:
            job: which.
            after_event: the number of the last event seen, from which it goes on; 0: from now on.

        Raises:
            NotFoundError: no such job.
            UnavailableError: nothing answered for as long as the client's timeout.
        """
        attempts = Attempts(self._connection.timeout_s)
        while True:
            try:
                async with contextlib.aclosing(self._events(id_of(job), after_event, attempts)) as events:
                    async for event in events:
                        after_event = event.event
                        yield event
                        if event.job and event.job.ended:
                            return
                if (await self.get(job)).ended:
                    return
                error = UnavailableError(f"job {id_of(job)}: its watch has ended before it")
            except UnavailableError as failure:
                error = failure
            await asyncio.sleep(attempts.delay_s(error))

    async def _events(self, job: str, after_event: int, attempts: Attempts) -> AsyncGenerator[JobEvent, None]:
        """One stream, until it ends or breaks."""
        request = build(pb.WatchJobRequest, id=job, after_event=after_event)
        answers = self._connection.endless(self._connection.jobs.WatchJob, request, attempts, may_end=True)
        async with contextlib.aclosing(answers):
            async for answer in answers:
                yield convert.job_event_from_pb(answer)

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """Return a job when it has ended, however it has.

        Args:
            job: which.
            timeout_s: how long to wait for that; None: as long as it takes.

        Raises:
            NotFoundError: no such job.
            DeadlineError: it has not ended in time; it goes on.
            UnavailableError: nothing answered for as long as the client's timeout.
        """
        try:
            async with asyncio.timeout(None if timeout_s is None else check_timeout(timeout_s)):
                async with contextlib.aclosing(self.watch(job)) as events:
                    async for _ in events:
                        pass
                return await self.get(job)
        except TimeoutError:
            raise DeadlineError(f"job {id_of(job)}: has not ended within {timeout_s:g} s") from None

    async def results(
        self, job: Job | str, path: str | Path, output: str = "", *, progress: OnProgress | None = None
    ) -> ResultsHeader:
        """Fetch a file of results; return what it is. Before the job has ended it has the rows that are done by now.

        A download that broke off goes on where it was, also when it is repeated later. The file is at its path only
        when it is whole; one that is there is replaced.

        Args:
            job: which.
            path: of the file; its directory is created if it is missing.
            output: of a job that writes "npy": which output, or the key column; of "parquet": empty.
            progress: called in the client's event loop with what has been received.

        Raises:
            InvalidInputError: the path is empty or a directory, or the job has no such file.
            NotFoundError: no such job.
            UnavailableError: it could not be reached for as long as the client's timeout.
        """
        return await ResultsDownload(self._connection, (id_of(job), output), path, progress).run()

    async def dead_letters(self, job: Job | str, limit: int = 1000) -> Sequence[DeadLetter]:
        """Return the rows that were given up, the oldest first; no more than `limit`, 0: all of them.

        Raises:
            NotFoundError: no such job.
        """
        request = build(pb.ListDeadLettersRequest, id=id_of(job))
        method = self._connection.jobs.ListDeadLetters
        found: list[DeadLetter] = []
        async with contextlib.aclosing(pages(self._connection, method, request, limit=limit)) as listing:
            async for page in listing:
                found += map(convert.dead_letter_from_pb, page.letters)
                if limit and len(found) >= limit:
                    return found[:limit]
        return found

    async def retry_dead_letters(self, job: Job | str, tasks: Sequence[str] = ()) -> int:
        """Have rows that were given up executed again, with nothing counted against them; at most 10,000 tasks a call.

        Args:
            job: which; if it was PARTIALLY_SUCCEEDED it is RUNNING then.
            tasks: of which dead letters; all where empty.

        Returns:
            How many are to be executed again; if these are 10,000 there may be more, for another call.

        Raises:
            NotFoundError: no such job or dead letter.
            PreconditionError: the job has FAILED or was CANCELLED.
        """
        request = build(pb.RetryDeadLettersRequest, id=id_of(job), tasks=list(tasks))
        return int((await self._connection.call(self._connection.jobs.RetryDeadLetters, request)).retried)
