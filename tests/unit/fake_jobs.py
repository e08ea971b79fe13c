"""Jobs in dictionaries, over real gRPC: what a client sees of them is for the test to say."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from modelyard.errors import AbortedError, AlreadyExistsError, NotFoundError, PreconditionError
from modelyard.results import Array
from modelyard.v1 import jobs_pb2 as pb
from tests.unit.fake_catalogue import Fake

ENDED = {pb.Job.SUCCEEDED, pb.Job.PARTIALLY_SUCCEEDED, pb.Job.FAILED, pb.Job.CANCELLED}
FIRST_TIME_S = 1_700_000_000
PIECE_BYTES = 100


def npy(array: Array) -> bytes:
    """The bytes of an npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


class FakeJobs(Fake):
    """A job is QUEUED until its watch tells something else.

    Attributes:
        told: the events of every watch, in order.
        files: what `GetResults` reads, by output.
        etag: of all of them.
        sent: which of the messages of a download get through.
        silent: a watch that has told all says nothing more, and does not end.
        failures: those of "accepted" come when a job was made, of "told" break a watch after an event, of "sent" a
            download after a piece.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, pb.Job] = {}
        self.asked: dict[str, pb.SubmitJobRequest] = {}
        self.told: list[pb.WatchJobResponse] = []
        self.letters: list[pb.DeadLetter] = []
        self.retried: list[str] = []
        self.files: dict[str, bytes] = {}
        self.etag = "one"
        self.sent = slice(None)
        self.silent = False
        self.requests: list[Any] = []

    def clear(self) -> None:
        """Forget everything."""
        for kept in (self.jobs, self.asked, self.told, self.letters, self.retried, self.files, self.requests):
            kept.clear()
        for noted in (self.failures, self.calls, self.tenants):
            noted.clear()
        self.etag, self.sent, self.silent = "one", slice(None), False

    def tell(self, kind: str, state: str = "", **progress: Any) -> pb.WatchJobResponse:
        """Add an event with the one job, which is as it says by then."""
        event = pb.WatchJobResponse(kind=kind, event=len(self.told) + 1)
        event.time.seconds = FIRST_TIME_S + len(self.told)
        event.job.CopyFrom(self._one())
        if state:
            event.job.MergeFrom(pb.Job(state=state))
        event.job.progress.MergeFrom(pb.JobProgress(**progress))
        self.told.append(event)
        return event

    def tell_task(self, kind: str, name: str, worker: str = "", reason: str = "") -> None:
        """Add an event with a task of the rows in its name."""
        begin, end = name.rpartition("r")[2].split("-")
        event = pb.WatchJobResponse(kind=kind, event=len(self.told) + 1)
        event.time.seconds = FIRST_TIME_S + len(self.told)
        event.task.MergeFrom(pb.JobTask(id=name, begin=int(begin), end=int(end), worker=worker, reason=reason))
        self.told.append(event)

    def end(self, state: str = "SUCCEEDED", reason: str = "", **progress: Any) -> None:
        """Add the event that every job ends with."""
        event = self.tell("STATE", state, **progress)
        event.job.reason = reason
        event.job.end_time.seconds = FIRST_TIME_S + 60

    def _one(self) -> pb.Job:
        last = [event.job for event in self.told if event.HasField("job")]
        return last[-1] if last else pb.Job(progress=pb.JobProgress(rows=-1))

    def _job(self, name: str) -> pb.Job:
        if name not in self.jobs:
            raise NotFoundError(f"job {name}: there is none")
        return self.jobs[name]

    async def SubmitJob(self, request: Any, context: Any) -> Any:
        self.called("SubmitJob", context)
        self.requests.append(request)
        before = self.asked.get(request.request_id)
        if before is None:
            self.asked[request.request_id] = request
            number = len(self.jobs) + 1
            job = pb.Job(id=f"job-{number}", tenant="acme", spec=request.spec, state=pb.Job.QUEUED)
            job.create_time.seconds = FIRST_TIME_S
            job.progress.rows = -1
            if job.spec.HasField("batch_inference"):
                job.spec.batch_inference.version = request.spec.batch_inference.version or "1"
            self.jobs[job.id] = job
        elif before.spec != request.spec:
            raise AlreadyExistsError("the same request id and another spec")
        if self.failures.get("accepted"):
            raise self.failures["accepted"].pop(0)
        return self.jobs[f"job-{1 + list(self.asked).index(request.request_id)}"]

    async def GetJob(self, request: Any, context: Any) -> Any:
        self.called("GetJob", context)
        return self._job(request.id)

    async def ListJobs(self, request: Any, context: Any) -> Any:
        self.called("ListJobs", context)
        self.requests.append(pb.ListJobsRequest.FromString(request.SerializeToString()))
        wanted = [job for job in reversed(self.jobs.values()) if not request.states or job.state in request.states]
        begin = int(request.page_token or 0)
        more = str(begin + 2) if len(wanted) > begin + 2 else ""
        return pb.ListJobsResponse(jobs=wanted[begin : begin + 2], next_page_token=more)

    async def WatchJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("WatchJob", context)
        self.requests.append(request)
        job = self._job(request.id)
        await context.send_initial_metadata(())
        for event in self.told[request.after_event :]:
            if event.HasField("job"):
                job.state, job.reason = event.job.state, event.job.reason
                job.progress.CopyFrom(event.job.progress)
                job.end_time.CopyFrom(event.job.end_time)
                told = pb.WatchJobResponse(kind=event.kind, event=event.event, time=event.time, job=job)
                told.measurements.MergeFrom(event.measurements)
            yield told if event.HasField("job") else event
            if self.failures.get("told"):
                raise self.failures["told"].pop(0)
        if self.silent:
            await asyncio.Event().wait()

    async def _change(self, method: str, request: Any, context: Any, state: Any) -> Any:
        self.called(method, context)
        job = self._job(request.id)
        if job.state in ENDED:
            raise PreconditionError(f"job {job.id}: it is {pb.Job.State.Name(job.state)}")
        job.state = state
        return job

    async def CancelJob(self, request: Any, context: Any) -> Any:
        return await self._change("CancelJob", request, context, pb.Job.CANCELLING)

    async def PauseJob(self, request: Any, context: Any) -> Any:
        return await self._change("PauseJob", request, context, pb.Job.PAUSED)

    async def ResumeJob(self, request: Any, context: Any) -> Any:
        return await self._change("ResumeJob", request, context, pb.Job.RUNNING)

    async def GetResults(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("GetResults", context)
        self.requests.append(request)
        self._job(request.id)
        if request.output not in self.files:
            raise NotFoundError(f"job {request.id}: expected an output of {sorted(self.files)}")
        if request.etag not in {"", self.etag}:
            raise AbortedError(f"job {request.id}: its results are others by now")
        data = self.files[request.output]
        kind = pb.NPY if request.output else pb.PARQUET
        header = pb.ResultsHeader(format=kind, size_bytes=len(data), rows=10, complete=True, etag=self.etag)
        begins = range(request.offset, len(data), PIECE_BYTES)
        pieces = [pb.GetResultsResponse(data=data[begin : begin + PIECE_BYTES]) for begin in begins]
        for answer in [pb.GetResultsResponse(header=header), *pieces][self.sent]:
            yield answer
            if answer.HasField("data") and self.failures.get("sent"):
                raise self.failures["sent"].pop(0)

    async def ListDeadLetters(self, request: Any, context: Any) -> Any:
        self.called("ListDeadLetters", context)
        self._job(request.id)
        begin = int(request.page_token or 0)
        more = str(begin + 2) if len(self.letters) > begin + 2 else ""
        return pb.ListDeadLettersResponse(letters=self.letters[begin : begin + 2], next_page_token=more)

    async def RetryDeadLetters(self, request: Any, context: Any) -> Any:
        self.called("RetryDeadLetters", context)
        self._job(request.id)
        self.retried += list(request.tasks) or [letter.task for letter in self.letters]
        return pb.RetryDeadLettersResponse(retried=len(self.retried))
