"""modelyard.v1.Jobs over real gRPC, on a queue in memory."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pyarrow.parquet as pq
import pytest

from modelyard.errors import from_status
from modelyard.jobs.job import EventKind, Progress
from modelyard.jobs.states import JobState
from modelyard.queue import Caps
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.server import Server
from modelyard.rpc.status import PUSHBACK_KEY, TENANT_KEY
from modelyard.v1 import jobs_pb2 as pb
from modelyard_scheduler.jobs.api.servicer import JobsServicer, Services
from modelyard_scheduler.jobs.records import Records
from tests.unit.jobs.submitted import SPEC
from tests.unit.scheduler.jobs.api.test_dead_letters import given_up
from tests.unit.scheduler.jobs.api.test_results import FIRST, Bench, rows_of

JOBS = pb.DESCRIPTOR.services_by_name["Jobs"]
ACME = ((TENANT_KEY, "acme"),)
Code = grpc.StatusCode


class Api(Bench):
    """A server, and a stub of it."""

    def __init__(self) -> None:
        super().__init__()
        desk = self.desk
        services = Services(desk.submission, desk.jobs, desk.watching, desk.letters, self.results)
        self.server = Server("scheduler")
        self.server.add(JOBS, JobsServicer(services))
        self.stub: Any = None

    async def submit(self, request_id: str = "r1", metadata: Any = ACME) -> Any:
        request = pb.SubmitJobRequest(request_id=request_id, spec=convert.spec_to_pb(SPEC))
        return await self.stub.SubmitJob(request, metadata=metadata)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    found = Api()
    async with open_channel(await found.server.start("127.0.0.1:0")) as channel:
        found.stub = Stub(channel, JOBS)
        yield found
        await found.server.stop(0)
    await found.desk.watching.close()
    found.results.close()


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error = failure.value
    assert from_status(error.code().name, None, "").status == error.code().name
    return error.code(), error.details() or ""


async def test_a_job_is_submitted_looked_at_and_listed(api: Api) -> None:
    job = await api.submit()
    assert (job.tenant, job.state, job.spec.batch_inference.version) == ("acme", pb.Job.QUEUED, "1")
    assert await api.submit() == job
    assert await api.stub.GetJob(pb.GetJobRequest(id=job.id)) == job
    other = await api.submit(metadata=())
    assert other.tenant == "default"
    first = await api.stub.ListJobs(pb.ListJobsRequest(page_size=1))
    second = await api.stub.ListJobs(pb.ListJobsRequest(page_size=1, page_token=first.next_page_token))
    assert [*first.jobs, *second.jobs] == [other, job]
    assert not second.next_page_token
    assert list((await api.stub.ListJobs(pb.ListJobsRequest(tenant="acme"))).jobs) == [job]


async def test_wishes(api: Api) -> None:
    name = (await api.submit()).id
    assert (await api.stub.PauseJob(pb.PauseJobRequest(id=name))).state == pb.Job.PAUSED
    assert (await api.stub.ResumeJob(pb.ResumeJobRequest(id=name))).state == pb.Job.QUEUED
    assert (await api.stub.CancelJob(pb.CancelJobRequest(id=name))).state == pb.Job.CANCELLING
    await api.desk.becomes(name, state=JobState.SUCCEEDED)
    code, details = await refused(api.stub.CancelJob(pb.CancelJobRequest(id=name)))
    assert code is Code.FAILED_PRECONDITION
    assert details.endswith("to become CANCELLING, it is SUCCEEDED")


async def test_a_watch_is_a_stream_that_ends_with_the_job(api: Api) -> None:
    name = (await api.submit()).id
    await api.desk.becomes(name, state=JobState.CANCELLED)
    call = api.stub.WatchJob(pb.WatchJobRequest(id=name, after_event=1))
    [event] = [convert.job_event_from_pb(event) async for event in call]
    assert (event.kind, event.event, event.job and event.job.state) == (EventKind.STATE, 2, JobState.CANCELLED)


async def test_a_watch_says_at_once_that_it_stands(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    name = (await api.submit()).id

    async def nothing(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(api.desk.queue, "events", nothing)
    call = api.stub.WatchJob(pb.WatchJobRequest(id=name, after_event=1))
    await asyncio.wait_for(call.initial_metadata(), 60)
    call.cancel()


async def test_results_are_a_header_and_bytes(api: Api) -> None:
    await api.begin()
    api.done(FIRST)
    call = api.stub.GetResults(pb.GetResultsRequest(id=api.job))
    header, *parts = [part async for part in call]
    data = b"".join(part.data for part in parts)
    assert rows_of(data) == list(range(10))
    assert header.header.size_bytes == len(data)
    assert header.header.format == pb.PARQUET
    rest = pb.GetResultsRequest(id=api.job, offset=5, length=7, etag=header.header.etag)
    _, part = [part async for part in api.stub.GetResults(rest)]
    assert part.data == data[5:12]
    assert pq.read_schema(io.BytesIO(data)).names == ["id", "y"]


async def test_dead_letters_are_listed_and_retried(api: Api) -> None:
    name = await given_up(api.desk)
    await api.desk.becomes(name, progress=Progress(6, 0, 6))
    page = await api.stub.ListDeadLetters(pb.ListDeadLettersRequest(id=name, page_size=2))
    rest = await api.stub.ListDeadLetters(pb.ListDeadLettersRequest(id=name, page_token=page.next_page_token))
    assert [letter.task for letter in [*page.letters, *rest.letters]] == ["r0-2", "r2-4", "r4-6"]
    one = await api.stub.RetryDeadLetters(pb.RetryDeadLettersRequest(id=name, tasks=["r0-2"]))
    everything = await api.stub.RetryDeadLetters(pb.RetryDeadLettersRequest(id=name))
    assert (one.retried, everything.retried) == (1, 3)
    assert (await api.stub.GetJob(pb.GetJobRequest(id=name))).state == pb.Job.RUNNING


@pytest.mark.parametrize("method", [method.name for method in JOBS.methods if "id" in method.input_type.fields_by_name])
async def test_an_unknown_job_is_not_found_and_a_name_that_is_none_refused(api: Api, method: str) -> None:
    request = getattr(pb, f"{method}Request")
    for name, code in (("job-9", Code.NOT_FOUND), ("", Code.INVALID_ARGUMENT), ("a:b", Code.INVALID_ARGUMENT)):
        call = getattr(api.stub, method)(request(id=name))
        assert (await refused(call.read() if hasattr(call, "read") else call))[0] is code


async def test_a_tenant_that_has_as_many_jobs_as_it_may_is_told_when_to_come_back(api: Api) -> None:
    api.desk.submission._records = Records(api.desk.queue, Caps(jobs=1))
    await api.submit("r1")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await api.submit("r2")
    assert failure.value.code() is Code.RESOURCE_EXHAUSTED
    trailers: dict[str, Any] = dict(failure.value.trailing_metadata() or ())  # type: ignore[arg-type]
    assert int(trailers[PUSHBACK_KEY]) > 0


async def test_what_makes_no_sense_is_refused(api: Api) -> None:
    stub = api.stub
    name = (await api.submit()).id
    no_kind = pb.SubmitJobRequest(spec=pb.JobSpec())
    for call in (
        stub.SubmitJob(no_kind),
        api.submit(metadata=((TENANT_KEY, "a/b"),)),
        stub.ListJobs(pb.ListJobsRequest(states=[77])),  # type: ignore[list-item]
        stub.ListJobs(pb.ListJobsRequest(tenant="a:b")),
        stub.ListDeadLetters(pb.ListDeadLettersRequest(id=name, page_size=-1)),
    ):
        assert (await refused(call))[0] is Code.INVALID_ARGUMENT
    other = convert.spec_to_pb(SPEC)
    other.priority = 1
    call = stub.SubmitJob(pb.SubmitJobRequest(request_id="r1", spec=other), metadata=ACME)
    assert (await refused(call))[0] is Code.ALREADY_EXISTS
