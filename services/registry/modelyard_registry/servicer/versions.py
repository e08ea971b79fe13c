"""The methods on versions."""

from __future__ import annotations

from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.publisher import Draft, Publisher
from modelyard_registry.catalogue.comparisons import Comparisons
from modelyard_registry.catalogue.versions import Versions
from modelyard_registry.servicer.masks import changes
from modelyard_registry.servicer.models import model_of
from modelyard_registry.servicer.pages import page_size

CHANGEABLE = ("description", "labels", "metrics")


class VersionMethods:
    """Versions."""

    def __init__(self, versions: Versions, publisher: Publisher, comparisons: Comparisons) -> None:
        self._versions = versions
        self._publisher = publisher
        self._comparisons = comparisons

    async def CreateVersion(self, request: pb.CreateVersionRequest, context: Context) -> pb.Version:
        """Publish a version whose chunks are here."""
        draft = Draft(
            model=request.model,
            version=request.version,
            format=request.format,
            manifest=convert.manifest_from_pb(request.manifest),
            resources=convert.resources_from_pb(request.resources),
            labels=dict(request.labels),
            description=request.description,
            tenant=tenant_of(context),
            lineage=convert.lineage_from_pb(request.lineage),
            metrics=dict(request.metrics),
            declared=convert.signature_from_pb(request.declared),
            request_id=request.request_id,
            upload=request.upload,
            new_model=model_of(request.new_model, context) if request.HasField("new_model") else None,
        )
        return convert.version_to_pb(await self._publisher.create_version(draft))

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.Version:
        """Return a version by name or alias."""
        return convert.version_to_pb(await self._versions.get(request.model, request.version))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """Return a page of versions in name order."""
        limit = page_size(request.page_size)
        found = await self._versions.page(request.model, request.page_token, limit + 1, deleted=request.show_deleted)
        token = found[limit - 1].version if len(found) > limit else ""
        return pb.ListVersionsResponse(
            versions=[convert.version_to_pb(v) for v in found[:limit]], next_page_token=token
        )

    async def UpdateVersion(self, request: pb.UpdateVersionRequest, context: Context) -> pb.Version:
        """Change what is said of a version."""
        wanted = request.version
        values = changes(wanted, request.update_mask.paths, CHANGEABLE)
        return convert.version_to_pb(await self._versions.update(wanted.model, wanted.version, values, wanted.etag))

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, context: Context) -> pb.Version:
        """Delete a version that is neither deployed nor aliased, nor used by a job."""
        deleted = await self._versions.delete(request.model, request.version, request.etag, purge=request.purge)
        return convert.version_to_pb(deleted)

    async def UndeleteVersion(self, request: pb.UndeleteVersionRequest, context: Context) -> pb.Version:
        """Bring a deleted version back."""
        return convert.version_to_pb(await self._versions.undelete(request.model, request.version))

    async def CompareVersions(self, request: pb.CompareVersionsRequest, context: Context) -> pb.CompareVersionsResponse:
        """Say how one version differs from another."""
        return convert.comparison_to_pb(await self._comparisons.compare(request.base, request.other))
