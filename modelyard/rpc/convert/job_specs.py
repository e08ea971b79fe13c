"""What a job is asked for. A message that lacks its kind of job is refused; what makes no sense is found later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelyard.datasets.image_options import ImageOptions, Size
from modelyard.errors import InvalidInputError
from modelyard.jobs import spec as values
from modelyard.jobs.listing import JobFilter
from modelyard.jobs.states import JobState
from modelyard.rpc.build import build
from modelyard.v1 import jobs_pb2 as pb

_CHANNELS = 3


def spec_to_pb(spec: values.JobSpec) -> pb.JobSpec:
    """A spec."""
    return build(
        pb.JobSpec,
        batch_inference=_inference_to_pb(spec.inference),
        priority=spec.priority,
        deadline_s=spec.deadline_s,
        max_attempts=spec.max_attempts,
        max_dead_rows=spec.max_dead_rows,
    )


def spec_from_pb(spec: pb.JobSpec) -> values.JobSpec:
    """A spec, with the defaults for what is not set.

    Raises:
        InvalidInputError: it has no kind of job, or one that this release does not know; or sizes or channels of images
            are not as many as they have to be.
    """
    if not spec.HasField("batch_inference"):
        raise InvalidInputError("job: expected a kind of batch_inference, got none")
    return values.JobSpec(
        inference=_inference_from_pb(spec.batch_inference),
        priority=spec.priority if spec.HasField("priority") else values.DEFAULT_PRIORITY,
        deadline_s=spec.deadline_s,
        max_attempts=spec.max_attempts or values.DEFAULT_ATTEMPTS,
        max_dead_rows=spec.max_dead_rows if spec.HasField("max_dead_rows") else values.DEFAULT_DEAD_ROWS,
    )


def _inference_to_pb(inference: values.BatchInference) -> pb.BatchInference:
    return build(
        pb.BatchInference,
        model=inference.model,
        version=inference.version,
        dataset=_dataset_to_pb(inference.dataset),
        columns=[build(pb.InputColumns, input=name, columns=columns) for name, columns in inference.columns],
        cast=inference.cast,
        output=build(pb.Output, format=inference.output.format.value, key_column=inference.output.key_column),
        sharding=build(pb.Sharding, key_column=inference.sharding.key_column, shards=inference.sharding.shards),
    )


def _inference_from_pb(inference: pb.BatchInference) -> values.BatchInference:
    return values.BatchInference(
        model=inference.model,
        version=inference.version,
        dataset=_dataset_from_pb(inference.dataset),
        columns=tuple((one.input, tuple(one.columns)) for one in inference.columns),
        cast=inference.cast,
        output=values.Output(_format_from_pb(inference.output.format), inference.output.key_column),
        sharding=values.Sharding(inference.sharding.key_column, inference.sharding.shards),
    )


def _format_from_pb(chosen: pb.ResultFormat) -> values.ResultFormat:
    if chosen not in {*pb.ResultFormat.values()}:
        known = ", ".join(values.ResultFormat)
        raise InvalidInputError(f"job: output: expected a format of {known}, got number {chosen}")
    return values.ResultFormat(pb.ResultFormat.Name(chosen)) if chosen else values.ResultFormat.PARQUET


def _dataset_to_pb(dataset: values.Dataset) -> pb.Dataset:
    message = build(pb.Dataset, kind=dataset.kind, images=_images_to_pb(dataset.images) if dataset.images else None)
    given = [dataset.artifact is not None, bool(dataset.url), dataset.inline is not None]
    if sum(given) > 1:
        raise InvalidInputError("job: dataset: expected one of artifact, url, inline; got several")
    if dataset.artifact:
        message.artifact.CopyFrom(
            build(pb.Artifact, manifest_digest=dataset.artifact.manifest_digest, path=dataset.artifact.path)
        )
    elif dataset.url:
        message.MergeFrom(build(pb.Dataset, url=dataset.url))
    elif dataset.inline is not None:
        message.MergeFrom(build(pb.Dataset, inline=dataset.inline))
    return message


def _dataset_from_pb(dataset: pb.Dataset) -> values.Dataset:
    artifact = values.Artifact(dataset.artifact.manifest_digest, dataset.artifact.path)
    return values.Dataset(
        artifact=artifact if dataset.HasField("artifact") else None,
        url=dataset.url,
        inline=dataset.inline if dataset.HasField("inline") else None,
        kind=dataset.kind,
        images=_images_from_pb(dataset.images) if dataset.HasField("images") else None,
    )


def _images_to_pb(images: ImageOptions) -> pb.ImageOptions:
    return build(
        pb.ImageOptions,
        resize=images.resize or (),
        crop=images.crop or (),
        scale=images.scale,
        mean=images.mean,
        std=images.std,
        channels_first=images.channels_first,
    )


def _images_from_pb(images: pb.ImageOptions) -> ImageOptions:
    return ImageOptions(
        resize=_size("resize", images.resize),
        crop=_size("crop", images.crop),
        scale=images.scale,
        mean=_channels("mean", images.mean, 0.0),
        std=_channels("std", images.std, 1.0),
        channels_first=images.channels_first,
    )


def _size(field: str, size: Sequence[int]) -> Size | None:
    if len(size) not in {0, 2}:
        raise InvalidInputError(f"job: images: {field}: expected height and width, got {list(size)}")
    return (size[0], size[1]) if size else None


def _channels(field: str, values_: Sequence[float], default: float) -> tuple[float, float, float]:
    if len(values_) not in {0, _CHANNELS}:
        raise InvalidInputError(f"job: images: {field}: expected a value for each of 3 channels, got {list(values_)}")
    return (values_[0], values_[1], values_[2]) if values_ else (default, default, default)


def job_filter_to_pb(wanted: JobFilter) -> pb.ListJobsRequest:
    """Which jobs are wanted, without a page."""
    states = sorted(state.value for state in wanted.states)
    return build(pb.ListJobsRequest, states=states, model=wanted.model, tenant=wanted.tenant)


def job_filter_from_pb(request: pb.ListJobsRequest) -> JobFilter:
    """Which jobs are wanted. InvalidInputError: one of the states is none."""
    return JobFilter(_states(request.states), request.model, request.tenant)


def _states(states: Iterable[pb.Job.State]) -> frozenset[JobState]:
    known = {pb.Job.State.Value(state.value): state for state in JobState}
    for state in states:
        if state not in known:
            raise InvalidInputError(f"states: expected some of {', '.join(JobState)}; got number {state}")
    return frozenset(known[state] for state in states)
