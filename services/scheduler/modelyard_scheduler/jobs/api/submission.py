"""Accepting jobs. Whatever is stored or held before a job is written down expires by itself after a day."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from modelyard.catalogue import Manifest, Version
from modelyard.datasets.allowed import check_allowed
from modelyard.errors import NotFoundError
from modelyard.jobs import resumption, submission
from modelyard.jobs.dataset import Dataset
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, BatchInference, JobSpec
from modelyard.jobs.training import TrainingSpec
from modelyard.jobs.validation import check_spec
from modelyard_scheduler.jobs.records import Records


class Registry(Protocol):
    """What is asked of the registry. Each raises UnavailableError where it is away."""

    async def find_usable_version(self, model: str, reference: str) -> Version:
        """A version, an alias's or (empty) the newest. NotFoundError; PreconditionError: it is deleted."""
        ...

    async def hold_artifact(self, digest: str, tenant: str, upload: str) -> Manifest:
        """Hold an artifact for a day. NotFoundError; DataLossError: it is not whole."""
        ...

    async def store_artifact(self, path: str, content: bytes, *, tenant: str, upload: str) -> str:
        """Store a file and hold it for a day; the digest of its manifest. ExhaustedError: the store is full."""
        ...


class Submission:
    """Checks, resolves, holds, then writes down: in this order, so that what fails has begun nothing."""

    def __init__(
        self, records: Records, registry: Registry, allowed: Sequence[str], clock: Callable[[], float]
    ) -> None:
        """`allowed`: prefixes of URLs that jobs may read datasets from."""
        self._records = records
        self._registry = registry
        self._allowed = tuple(allowed)
        self._clock = clock

    async def submit(self, tenant: str, request_id: str, spec: JobSpec) -> Job:
        """Accept a job; the same request again has the job of the first one.

        Args:
            tenant: whose job it is.
            request_id: empty: one is made up.
            spec: what is to be done.

        Raises:
            InvalidInputError: the spec makes no sense, or its URL is not allowed.
            NotFoundError: no such model, version, alias or artifact.
            PreconditionError: the version is deleted.
            DataLossError: the artifact is not whole.
            AlreadyExistsError: the tenant's request of that id asked for something else.
            ExhaustedError: the tenant has as many jobs as it may; Redis or the artifact store is full.
            UnavailableError: Redis or the registry is away.
        """
        check_spec(spec)
        asked = submission.submit(tenant, request_id or uuid.uuid4().hex, spec, self._clock())
        if request_id and (before := await self._records.read_all([asked.id])):
            return submission.repeated(before[0].job, spec)
        for dataset in spec.datasets:
            if dataset.url:
                check_allowed(dataset.url, self._allowed)
        job = await (self._training(asked, spec.training) if spec.training else self._inference(asked, spec.inference))
        return submission.repeated((await self._records.submit(job)).job, spec)

    async def _inference(self, job: Job, asked: BatchInference) -> Job:
        found = await self._registry.find_usable_version(asked.model, asked.version)
        return submission.resolved(job, found.version, await self._held(job, asked.dataset))

    async def _training(self, job: Job, asked: TrainingSpec) -> Job:
        await self._hold(job, asked.code.artifact)
        train = await self._held(job, asked.data.dataset)
        validation = await self._held(job, asked.data.validation) if asked.data.validation else None
        made = submission.stored(job, train, validation)
        return await self._resumed(made, asked.resume_from) if asked.resume_from else made

    async def _resumed(self, job: Job, source: str) -> Job:
        """The job with the checkpoint of another one, which is held for it."""
        found = await self._records.read_all([source])
        made = resumption.resumed(job, found[0].job if found else None)
        if made.checkpoint:
            await self._registry.hold_artifact(made.checkpoint.digest, job.tenant, job.id)
        return made

    async def _held(self, job: Job, dataset: Dataset) -> Artifact | None:
        """Hold what is to be read; return where inline rows are stored."""
        if dataset.inline is not None:
            path = f"rows.{dataset.kind}"
            digest = await self._registry.store_artifact(path, dataset.inline, tenant=job.tenant, upload=job.id)
            return Artifact(digest, path)
        if dataset.artifact:
            await self._hold(job, dataset.artifact)
        return None

    async def _hold(self, job: Job, artifact: Artifact) -> None:
        manifest = await self._registry.hold_artifact(artifact.manifest_digest, job.tenant, job.id)
        _check_path(manifest, artifact)


def _check_path(manifest: Manifest, artifact: Artifact) -> None:
    paths = [file.path for file in manifest.files]
    if artifact.path and artifact.path not in paths:
        shown = ", ".join(repr(path) for path in paths[:5])
        raise NotFoundError(f"artifact {artifact.manifest_digest}: no file {artifact.path!r}; it has {shown}")
