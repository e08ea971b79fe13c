"""modelyard.v1.Jobs through the front door of a running suite, with its registry, its Redis and its relay."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
import pytest

from modelyard.aio import Client
from modelyard.errors import (
    AlreadyExistsError,
    InvalidInputError,
    ModelyardError,
    NotFoundError,
    PreconditionError,
)
from modelyard.jobs.job import EventKind, Job
from modelyard.jobs.spec import Artifact, BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import TENANT_KEY, error_of
from modelyard.rpc.storing import Storing
from modelyard.v1 import jobs_pb2 as pb
from tests import models
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite

JOBS = pb.DESCRIPTOR.services_by_name["Jobs"]
MODEL = "jobs-api"
MISSING = "ab" * 32


class Api:
    """Calls as a client makes them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = Stub(channel, JOBS)

    async def call(self, method: str, request: Any) -> Any:
        try:
            return await getattr(self.stub, method)(request, metadata=((TENANT_KEY, "acme"),), timeout=30)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure

    async def submit(self, spec: JobSpec, request_id: str = "") -> Job:
        request = pb.SubmitJobRequest(request_id=request_id, spec=convert.spec_to_pb(spec))
        return convert.job_from_pb(await self.call("SubmitJob", request))


@pytest.fixture
async def api(running_suite: RunningSuite) -> AsyncIterator[Api]:
    async with open_channel(running_suite.address) as channel:
        yield Api(channel)


def rows() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.zeros((3, 64), np.float32))
    return out.getvalue()


def on(dataset: Dataset, version: str = "") -> JobSpec:
    return JobSpec(BatchInference(MODEL, dataset, version))


async def test_a_job_is_accepted_once_and_told_from_then_on(api: Api, bench: Workbench) -> None:
    version = await bench.push(MODEL, models.mlp())
    spec = on(Dataset(inline=rows(), kind="npz"))
    job = await api.submit(spec, "r1")
    assert (job.tenant, job.spec.inference.version) == ("acme", version)
    assert job.spec.inference.dataset.artifact
    assert (await api.submit(spec, "r1")).id == job.id
    with pytest.raises(AlreadyExistsError):
        await api.submit(on(Dataset(inline=b"", kind="npz")), "r1")
    listed = await api.call("ListJobs", pb.ListJobsRequest(model=MODEL, tenant="acme"))
    assert listed.jobs[0].id == job.id
    assert {one.spec.batch_inference.model for one in listed.jobs} == {MODEL}
    await api.call("CancelJob", pb.CancelJobRequest(id=job.id))
    call = api.stub.WatchJob(pb.WatchJobRequest(id=job.id))
    events = [convert.job_event_from_pb(event) async for event in call]
    assert events[0].kind is EventKind.SNAPSHOT
    assert events[-1].job
    assert events[-1].job.state is JobState.CANCELLED


async def test_an_artifact_that_was_uploaded_is_held(api: Api, bench: Workbench, client: Client) -> None:
    await bench.push(MODEL, models.mlp())
    storing = Storing(lambda: registries)
    registries = (await client.endpoints()).registries
    digest = await storing.store_artifact("rows.npz", rows(), tenant="acme", upload="u1")
    await storing.close()
    job = await api.submit(on(Dataset(artifact=Artifact(digest))))
    await api.call("CancelJob", pb.CancelJobRequest(id=job.id))
    with pytest.raises(NotFoundError, match=r"no file 'other\.npz'; it has 'rows\.npz'"):
        await api.submit(on(Dataset(artifact=Artifact(digest, "other.npz"))))


async def test_what_cannot_be_done_is_refused_with_its_status(api: Api, bench: Workbench, client: Client) -> None:
    await bench.push(MODEL, models.mlp())
    await bench.push(MODEL, models.mlp(seed=2))
    await client.delete_version(MODEL, "1")
    inline = Dataset(inline=b"", kind="npz")
    refused: list[tuple[JobSpec, type[ModelyardError], str]] = [
        (on(inline, "1"), PreconditionError, "it is deleted"),
        (on(inline, "9"), NotFoundError, "no version or alias '9'"),
        (on(Dataset(artifact=Artifact(MISSING))), NotFoundError, f"manifest {MISSING}: not in the artifact store"),
        (on(Dataset(url="file:///etc/passwd")), InvalidInputError, "this server allows no URLs"),
    ]
    for spec, error, message in refused:
        with pytest.raises(error, match=message):
            await api.submit(spec)
    await client.delete_model(MODEL)
    with pytest.raises(PreconditionError, match=f"model '{MODEL}': it is deleted"):
        await api.submit(on(inline, "2"))


async def test_an_unknown_job_is_not_found(api: Api) -> None:
    for method in ("GetJob", "CancelJob", "PauseJob", "ResumeJob", "ListDeadLetters", "RetryDeadLetters"):
        with pytest.raises(NotFoundError, match="no job job-9"):
            await api.call(method, getattr(pb, f"{method}Request")(id="job-9"))
    watch = api.stub.WatchJob(pb.WatchJobRequest(id="job-9"))
    for stream in (watch, api.stub.GetResults(pb.GetResultsRequest(id="job-9"))):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stream.read()
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND
