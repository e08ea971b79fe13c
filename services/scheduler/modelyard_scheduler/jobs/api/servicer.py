"""modelyard.v1.Jobs: convert, call, convert."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from modelyard.jobs.job import ResultsHeader
from modelyard.names import check_name
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.tasks import completed
from modelyard.v1 import jobs_pb2 as pb
from modelyard_scheduler.jobs.api.dead_letters import DeadLetters
from modelyard_scheduler.jobs.api.results import Excerpt, Results
from modelyard_scheduler.jobs.api.service import Jobs
from modelyard_scheduler.jobs.api.submission import Submission
from modelyard_scheduler.jobs.api.watching import Watching


@dataclass(frozen=True)
class Services:
    """What is behind the methods."""

    submission: Submission
    jobs: Jobs
    watching: Watching
    letters: DeadLetters
    results: Results


class JobsServicer:
    """Jobs over gRPC."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> pb.Job:
        """Accept a job of the call's tenant."""
        spec = convert.spec_from_pb(request.spec)
        return convert.job_to_pb(await self._services.submission.submit(tenant_of(context), request.request_id, spec))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.Job:
        """Return a job as it is now."""
        return convert.job_to_pb(await self._services.jobs.get(request.id))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        """Return a page of jobs."""
        if request.tenant:
            check_name("tenant", request.tenant)
        wanted = convert.job_filter_from_pb(request)
        jobs, token = await self._services.jobs.page(wanted, request.page_size, request.page_token)
        return pb.ListJobsResponse(jobs=map(convert.job_to_pb, jobs), next_page_token=token)

    async def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> AsyncIterator[pb.WatchJobResponse]:
        """Stream what happens to a job."""
        await completed(context.send_initial_metadata(()))  # says that the watch stands, however long nothing happens
        async with contextlib.aclosing(self._services.watching.watch(request.id, request.after_event)) as events:
            async for event in events:
                yield convert.job_event_to_pb(event)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.Job:
        """Have a job cancelled."""
        return convert.job_to_pb(await self._services.jobs.cancel(request.id))

    async def PauseJob(self, request: pb.PauseJobRequest, context: Context) -> pb.Job:
        """Have no task begun any more."""
        return convert.job_to_pb(await self._services.jobs.pause(request.id))

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.Job:
        """Have tasks begun again."""
        return convert.job_to_pb(await self._services.jobs.resume(request.id))

    async def GetResults(self, request: pb.GetResultsRequest, context: Context) -> AsyncIterator[pb.GetResultsResponse]:
        """Stream a file of results: a header, then its bytes."""
        wanted = Excerpt(request.output, request.offset, request.length, request.etag)
        async with contextlib.aclosing(self._services.results.read(request.id, wanted)) as parts:
            async for part in parts:
                if isinstance(part, ResultsHeader):
                    yield pb.GetResultsResponse(header=convert.results_header_to_pb(part))
                else:
                    yield pb.GetResultsResponse(data=part)

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Context) -> pb.ListDeadLettersResponse:
        """Return a page of the rows that were given up."""
        letters, token = await self._services.letters.page(request.id, request.page_size, request.page_token)
        return pb.ListDeadLettersResponse(letters=map(convert.dead_letter_to_pb, letters), next_page_token=token)

    async def RetryDeadLetters(
        self, request: pb.RetryDeadLettersRequest, context: Context
    ) -> pb.RetryDeadLettersResponse:
        """Have them executed again."""
        retried = await self._services.letters.retry(request.id, list(request.tasks))
        return pb.RetryDeadLettersResponse(retried=retried)
