"""What is found, watched, compared and collected in the catalogue."""

from __future__ import annotations

from modelyard import catalogue, compatibility, events
from modelyard.rpc.convert import catalogue as records
from modelyard.v1 import registry_pb2 as pb


def comparison_to_pb(comparison: compatibility.Comparison) -> pb.CompareVersionsResponse:
    """How two versions differ."""
    return pb.CompareVersionsResponse(
        base=records.version_to_pb(comparison.base),
        other=records.version_to_pb(comparison.other),
        compatibility=comparison.compatibility.name,
        differences=comparison.differences,
        files=[
            pb.FileDifference(
                path=f.path,
                base_size_bytes=f.base_size_bytes,
                other_size_bytes=f.other_size_bytes,
                shared_bytes=f.shared_bytes,
            )
            for f in comparison.files
        ],
    )


def comparison_from_pb(comparison: pb.CompareVersionsResponse) -> compatibility.Comparison:
    """How two versions differ."""
    return compatibility.Comparison(
        base=records.version_from_pb(comparison.base),
        other=records.version_from_pb(comparison.other),
        compatibility=compatibility.Compatibility[pb.Compatibility.Name(comparison.compatibility)],
        differences=tuple(comparison.differences),
        files=tuple(
            compatibility.FileDifference(f.path, f.base_size_bytes, f.other_size_bytes, f.shared_bytes)
            for f in comparison.files
        ),
    )


def event_to_pb(event: events.CatalogueEvent) -> pb.WatchResponse:
    """A change of the catalogue."""
    response = pb.WatchResponse(kind=event.kind.value, revision=event.revision, model_name=event.model)
    match event.resource:
        case catalogue.Model():
            response.model.CopyFrom(records.model_to_pb(event.resource))
        case catalogue.Version():
            response.version.CopyFrom(records.version_to_pb(event.resource))
        case catalogue.Alias():
            response.alias.CopyFrom(records.alias_to_pb(event.resource))
    return response


def event_from_pb(response: pb.WatchResponse) -> events.CatalogueEvent:
    """A change of the catalogue."""
    resource: catalogue.Model | catalogue.Version | catalogue.Alias | None = None
    match response.WhichOneof("resource"):
        case "model":
            resource = records.model_from_pb(response.model)
        case "version":
            resource = records.version_from_pb(response.version)
        case "alias":
            resource = records.alias_from_pb(response.alias)
    kind = events.EventKind(pb.WatchResponse.Kind.Name(response.kind))
    return events.CatalogueEvent(kind, response.revision, response.model_name, resource)


def collected_to_pb(collected: catalogue.Collected) -> pb.CollectGarbageResponse:
    """What a collection did."""
    return pb.CollectGarbageResponse(
        removed_chunks=collected.removed_chunks,
        removed_bytes=collected.removed_bytes,
        kept_chunks=collected.kept_chunks,
        kept_bytes=collected.kept_bytes,
        purged=collected.purged,
    )


def collected_from_pb(collected: pb.CollectGarbageResponse) -> catalogue.Collected:
    """What a collection did."""
    return catalogue.Collected(
        removed_chunks=collected.removed_chunks,
        removed_bytes=collected.removed_bytes,
        kept_chunks=collected.kept_chunks,
        kept_bytes=collected.kept_bytes,
        purged=tuple(collected.purged),
    )
