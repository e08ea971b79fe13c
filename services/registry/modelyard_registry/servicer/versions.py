"""The methods on versions."""

from __future__ import annotations

from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.publisher import Draft, Publisher
from modelyard_registry.service import Catalogue
from modelyard_registry.servicer.pages import page_size


class VersionMethods:
    """Versions."""

    def __init__(self, catalogue: Catalogue, publisher: Publisher) -> None:
        self._catalogue = catalogue
        self._publisher = publisher

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
        )
        return convert.version_to_pb(await self._publisher.create_version(draft))

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.Version:
        """Return a version by name or alias."""
        return convert.version_to_pb(await self._catalogue.version(request.model, request.version))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """Return a page of versions in name order."""
        limit = page_size(request.page_size)
        found = await self._catalogue.versions(request.model, request.page_token, limit + 1)
        token = found[limit - 1].version if len(found) > limit else ""
        return pb.ListVersionsResponse(
            versions=[convert.version_to_pb(v) for v in found[:limit]], next_page_token=token
        )

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, context: Context) -> pb.Version:
        """Delete a version that is not deployed."""
        found = await self._catalogue.version(request.model, request.version)
        await self._catalogue.delete_version(request.model, request.version)
        return convert.version_to_pb(found)
