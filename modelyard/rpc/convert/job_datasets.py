"""Where what a job reads comes from."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.datasets.image_options import ImageOptions, Size
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.rpc.build import build
from modelyard.v1 import jobs_pb2 as pb

_CHANNELS = 3


def artifact_to_pb(artifact: Artifact) -> pb.Artifact:
    """Files in the artifact store."""
    return build(pb.Artifact, manifest_digest=artifact.manifest_digest, path=artifact.path)


def artifact_from_pb(artifact: pb.Artifact) -> Artifact:
    """Files in the artifact store."""
    return Artifact(artifact.manifest_digest, artifact.path)


def dataset_to_pb(dataset: Dataset) -> pb.Dataset:
    """Where rows come from. InvalidInputError: there is more than one source."""
    message = build(pb.Dataset, kind=dataset.kind, images=_images_to_pb(dataset.images) if dataset.images else None)
    given = [dataset.artifact is not None, bool(dataset.url), dataset.inline is not None]
    if sum(given) > 1:
        raise InvalidInputError("job: dataset: expected one of artifact, url, inline; got several")
    if dataset.artifact:
        message.artifact.CopyFrom(artifact_to_pb(dataset.artifact))
    elif dataset.url:
        message.MergeFrom(build(pb.Dataset, url=dataset.url))
    elif dataset.inline is not None:
        message.MergeFrom(build(pb.Dataset, inline=dataset.inline))
    return message


def dataset_from_pb(dataset: pb.Dataset) -> Dataset:
    """Where rows come from. InvalidInputError: sizes or channels of images are not as many as they have to be."""
    return Dataset(
        artifact=artifact_from_pb(dataset.artifact) if dataset.HasField("artifact") else None,
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
