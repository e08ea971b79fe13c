"""Models, versions, aliases and manifests."""

from __future__ import annotations

from modelyard import catalogue
from modelyard.catalogue import Lifecycle
from modelyard.rpc.build import build
from modelyard.rpc.convert.types import (
    resources_from_pb,
    resources_to_pb,
    seconds,
    signature_from_pb,
    signature_to_pb,
    timestamp,
)
from modelyard.v1 import registry_pb2 as pb


def _state_from_pb(state: pb.State) -> Lifecycle:
    return Lifecycle(pb.State.Name(state)) if state else Lifecycle.ACTIVE


def alias_to_pb(alias: catalogue.Alias) -> pb.Alias:
    """An alias."""
    return pb.Alias(
        name=alias.name,
        version=alias.version,
        tenant=alias.tenant,
        update_time=timestamp(alias.update_time_s),
        etag=alias.etag,
        canary_version=alias.canary_version,
        canary_percent=alias.canary_percent,
    )


def alias_from_pb(alias: pb.Alias) -> catalogue.Alias:
    """An alias."""
    return catalogue.Alias(
        name=alias.name,
        version=alias.version,
        tenant=alias.tenant,
        update_time_s=seconds(alias.update_time),
        etag=alias.etag,
        canary_version=alias.canary_version,
        canary_percent=alias.canary_percent,
    )


def alias_change_to_pb(change: catalogue.AliasChange) -> pb.AliasChange:
    """A move of an alias."""
    return pb.AliasChange(
        alias=change.alias,
        from_version=change.from_version,
        to_version=change.to_version,
        tenant=change.tenant,
        time=timestamp(change.time_s),
        rollback=change.rollback,
        number=change.number,
        canary_version=change.canary_version,
        canary_percent=change.canary_percent,
    )


def alias_change_from_pb(change: pb.AliasChange) -> catalogue.AliasChange:
    """A move of an alias; what a roll-back returns to is not told."""
    return catalogue.AliasChange(
        alias=change.alias,
        number=change.number,
        from_version=change.from_version,
        to_version=change.to_version,
        tenant=change.tenant,
        time_s=seconds(change.time),
        rollback=change.rollback,
        canary_version=change.canary_version,
        canary_percent=change.canary_percent,
    )


def model_to_pb(model: catalogue.Model) -> pb.Model:
    """A model."""
    return pb.Model(
        name=model.name,
        description=model.description,
        labels=model.labels,
        licence=model.licence,
        tenant=model.tenant,
        create_time=timestamp(model.create_time_s),
        aliases=[alias_to_pb(a) for a in model.aliases],
        latest_version=model.latest_version,
        update_time=timestamp(model.update_time_s),
        etag=model.etag,
        keep_last=model.keep_last,
        state=model.state.value,
        expire_time=timestamp(model.expire_time_s) if model.expire_time_s else None,
    )


def model_from_pb(model: pb.Model) -> catalogue.Model:
    """A model."""
    return catalogue.Model(
        name=model.name,
        description=model.description,
        labels=dict(model.labels),
        licence=model.licence,
        tenant=model.tenant,
        create_time_s=seconds(model.create_time),
        aliases=tuple(alias_from_pb(a) for a in model.aliases),
        latest_version=model.latest_version,
        update_time_s=seconds(model.update_time),
        etag=model.etag,
        keep_last=model.keep_last,
        state=_state_from_pb(model.state),
        expire_time_s=seconds(model.expire_time),
    )


def lineage_to_pb(lineage: catalogue.Lineage) -> pb.Lineage:
    """Where a version came from."""
    return build(pb.Lineage, parent_version=lineage.parent_version, job=lineage.job, dataset=lineage.dataset)


def lineage_from_pb(lineage: pb.Lineage) -> catalogue.Lineage:
    """Where a version came from."""
    return catalogue.Lineage(lineage.parent_version, lineage.job, lineage.dataset)


def version_to_pb(version: catalogue.Version) -> pb.Version:
    """A version."""
    return pb.Version(
        model=version.model,
        version=version.version,
        format=version.format,
        signature=signature_to_pb(version.signature),
        resources=resources_to_pb(version.resources),
        manifest_digest=version.manifest_digest,
        size_bytes=version.size_bytes,
        labels=version.labels,
        description=version.description,
        tenant=version.tenant,
        create_time=timestamp(version.create_time_s),
        state=version.state.value,
        lineage=lineage_to_pb(version.lineage),
        metrics=version.metrics,
        etag=version.etag,
        update_time=timestamp(version.update_time_s),
        expire_time=timestamp(version.expire_time_s) if version.expire_time_s else None,
    )


def version_from_pb(version: pb.Version) -> catalogue.Version:
    """A version."""
    return catalogue.Version(
        model=version.model,
        version=version.version,
        format=version.format,
        signature=signature_from_pb(version.signature),
        resources=resources_from_pb(version.resources),
        manifest_digest=version.manifest_digest,
        size_bytes=version.size_bytes,
        labels=dict(version.labels),
        description=version.description,
        tenant=version.tenant,
        create_time_s=seconds(version.create_time),
        state=_state_from_pb(version.state),
        lineage=lineage_from_pb(version.lineage),
        metrics=dict(version.metrics),
        etag=version.etag,
        update_time_s=seconds(version.update_time),
        expire_time_s=seconds(version.expire_time),
    )


def manifest_to_pb(manifest: catalogue.Manifest) -> pb.Manifest:
    """A manifest."""
    files = [pb.File(path=f.path, size_bytes=f.size_bytes, chunks=f.chunks) for f in manifest.files]
    return pb.Manifest(files=files, chunk_size_bytes=manifest.chunk_size_bytes)


def manifest_from_pb(manifest: pb.Manifest) -> catalogue.Manifest:
    """A manifest."""
    files = tuple(catalogue.File(f.path, f.size_bytes, tuple(f.chunks)) for f in manifest.files)
    return catalogue.Manifest(files, manifest.chunk_size_bytes)
