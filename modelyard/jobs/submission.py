"""Accepting a job, once for each request id."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from modelyard.codec import encode
from modelyard.errors import AlreadyExistsError
from modelyard.jobs.job import Job
from modelyard.jobs.spec import Artifact, Dataset, JobSpec
from modelyard.names import check_name


def job_id(tenant: str, request_id: str) -> str:
    """The id of the job that a tenant's request makes: the same for the same, so that it is made once.

    Raises:
        InvalidInputError: the request id is no name.
    """
    check_name("request", request_id)
    return "job-" + hashlib.blake2b(f"{tenant}/{request_id}".encode(), digest_size=10).hexdigest()


def submit(tenant: str, request_id: str, spec: JobSpec, now_s: float) -> Job:
    """A job that is accepted, of a spec as it was asked for. InvalidInputError: the request id is no name."""
    return Job(job_id(tenant, request_id), tenant, spec, create_time_s=now_s, asked=_digest(spec))


def repeated(job: Job, spec: JobSpec) -> Job:
    """The job of the first call, for a second one with its request id.

    Raises:
        AlreadyExistsError: that one asks for something else.
    """
    if job.asked != _digest(spec):
        raise AlreadyExistsError(f"job {job.id} was submitted with the same request id and another spec")
    return job


def resolved(job: Job, version: str, inline: Artifact | None = None) -> Job:
    """The job with the version that its alias means, and with its inline rows where they have been stored."""
    inference = replace(job.spec.inference, version=version)
    inference = replace(inference, dataset=_located(inference.dataset, inline))
    return replace(job, spec=replace(job.spec, batch_inference=inference))


def stored(job: Job, dataset: Artifact | None, validation: Artifact | None) -> Job:
    """A job that trains, with its inline rows where they have been stored."""
    training = job.spec.training
    if training is None:
        return job
    data = training.data
    checked = _located(data.validation, validation) if data.validation else None
    data = replace(data, dataset=_located(data.dataset, dataset), validation=checked)
    return replace(job, spec=replace(job.spec, training=replace(training, data=data)))


def _located(dataset: Dataset, inline: Artifact | None) -> Dataset:
    return Dataset(artifact=inline, kind=dataset.kind, images=dataset.images) if inline else dataset


def _digest(spec: JobSpec) -> str:
    return hashlib.blake2b(encode(spec), digest_size=16).hexdigest()
