"""Trainings, on their way to the server."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

from modelyard.errors import InvalidInputError
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.names import ModelVersion
from modelyard.results import LogPart
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.jobs import bundle
from modelyard.sdk.jobs.datasets import DatasetCalls, Rows
from modelyard.sdk.jobs.options import JobOptions
from modelyard.sdk.jobs.training_options import TrainingJobOptions
from modelyard.sdk.meter import OnProgress
from modelyard.v1 import jobs_pb2 as pb
from modelyard.v1 import scheduler_pb2


class TrainingCalls(DatasetCalls):
    """Models that are made by training."""

    async def train(
        self,
        model: str,
        code: str | Path,
        data: Rows | None = None,
        options: TrainingJobOptions | None = None,
        *,
        validation: Rows | None = None,
        progress: OnProgress | None = None,
    ) -> Job:
        """Have a model trained; return at once, the job is QUEUED.

        Args:
            model: what comes out is a version of it.
            code: the directory of a recipe or a script, of which is sent what the registry lacks.
            data: a file or a directory of images; an artifact, as `Artifact` or "sha256:DIGEST[/PATH]"; a URL that the
                server allows; or arrays [samples, ...] by the columns' names. A script may have any files, or None.
            options: how it is done.
            validation: likewise, what metrics are measured on; None: the part that `held_out` says.
            progress: called in the client's event loop with what has been read and sent.

        Raises:
            InvalidInputError: a value makes no sense, or there is no such file.
            AlreadyExistsError: the request id was used for another job.
            ExhaustedError: the tenant has as much queued as it may have; later it may be accepted.
            UnimplementedError: the server does not train.
            UnavailableError: nothing answered in time. It may have been accepted: with a request id it can be repeated.
        """
        options = options or TrainingJobOptions()
        if validation is not None and options.held_out:
            raise InvalidInputError(f"expected a validation dataset or held_out, got both ({options.held_out})")
        options.check(model, data is not None)
        reading = JobOptions(kind=options.kind, images=options.images)
        sent = await self._code(Path(code), options.entry, progress)
        reference = ModelVersion(model, "")
        dataset = await self.dataset(reference, data, reading, progress) if data is not None else Dataset()
        checked = await self.dataset(reference, validation, reading, progress) if validation is not None else None
        return await self._accepted(options.spec(model, sent, dataset, checked), options.request_id)

    async def logs(self, job: Job | str, tail_bytes: int = 0) -> AsyncGenerator[LogPart, None]:
        """Yield the end of what each process of a training job printed, also when it has ended.

        Args:
            job: which.
            tail_bytes: how much of each log; 0 for 64 KiB.

        Raises:
            NotFoundError: no worker that is live has anything of it.
        """
        name = job if isinstance(job, str) else job.id
        request = build(scheduler_pb2.ReadLogsRequest, job=name, tail_bytes=tail_bytes)
        async for part in self._connection.stream(self._connection.scheduler.ReadLogs, request):
            yield LogPart(part.worker, part.version, part.data)

    async def _code(self, directory: Path, entry: str, progress: OnProgress | None) -> Artifact:
        with tempfile.TemporaryDirectory(prefix="modelyard-code-") as own:
            await asyncio.to_thread(bundle.copy, directory, Path(own), entry)
            return await self._upload(own, progress)

    async def _accepted(self, spec: JobSpec, request_id: str) -> Job:
        request = pb.SubmitJobRequest(spec=convert.spec_to_pb(spec))
        # By its id the server knows a second attempt: it never becomes a second job.
        request.MergeFrom(build(pb.SubmitJobRequest, request_id=request_id or uuid.uuid4().hex))
        return convert.job_from_pb(await self._connection.call(self._connection.jobs.SubmitJob, request))
