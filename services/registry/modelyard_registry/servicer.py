"""modelyard.v1.Registry: convert, call, convert."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from modelyard.catalogue import Alias, Model
from modelyard.errors import InvalidInputError, ModelyardError
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.discovery import Discovery
from modelyard_registry.intake import Intake
from modelyard_registry.manifests import load_manifest
from modelyard_registry.publisher import Draft, Publisher
from modelyard_registry.service import Catalogue
from modelyard_registry.store import ChunkStore

PIECE_BYTES = 1 << 20
DRAIN_BYTES = 64 << 20
SILENCE_S = 1.0
"""So much of an upload that has failed is read on, and so long a pause ends that."""
MAX_PAGE = 1000
DEFAULT_PAGE = 100


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidInputError(f"page_size: expected 0 to {MAX_PAGE}, got {asked}")
    return min(asked or DEFAULT_PAGE, MAX_PAGE)


class RegistryServicer:
    """The registry over gRPC."""

    def __init__(self, catalogue: Catalogue, discovery: Discovery, publisher: Publisher, store: ChunkStore) -> None:
        self._catalogue = catalogue
        self._discovery = discovery
        self._publisher = publisher
        self._store = store

    async def RegisterModel(self, request: pb.RegisterModelRequest, context: Context) -> pb.Model:
        """Create a model or change its description, labels and licence."""
        model = Model(request.name, request.description, dict(request.labels), request.licence, tenant_of(context))
        return convert.model_to_pb(await self._catalogue.register(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Return a model."""
        return convert.model_to_pb(await self._catalogue.model(request.name))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of models in name order."""
        limit = _page_size(request.page_size)
        found = await self._catalogue.models(request.name_prefix, request.page_token, limit + 1)
        token = found[limit - 1].name if len(found) > limit else ""
        return pb.ListModelsResponse(models=[convert.model_to_pb(m) for m in found[:limit]], next_page_token=token)

    async def DeleteModel(self, request: pb.DeleteModelRequest, context: Context) -> pb.DeleteModelResponse:
        """Delete a model that is not deployed."""
        await self._catalogue.delete_model(request.name)
        return pb.DeleteModelResponse()

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
        limit = _page_size(request.page_size)
        found = await self._catalogue.versions(request.model, request.page_token, limit + 1)
        token = found[limit - 1].version if len(found) > limit else ""
        return pb.ListVersionsResponse(
            versions=[convert.version_to_pb(v) for v in found[:limit]], next_page_token=token
        )

    async def DeleteVersion(self, request: pb.DeleteVersionRequest, context: Context) -> pb.DeleteVersionResponse:
        """Delete a version that is not deployed."""
        await self._catalogue.delete_version(request.model, request.version)
        return pb.DeleteVersionResponse()

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Alias:
        """Point an alias at a version."""
        alias = Alias(request.alias, request.version, tenant_of(context))
        return convert.alias_to_pb(await self._catalogue.set_alias(request.model, alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        """Delete an alias."""
        await self._catalogue.delete_alias(request.model, request.alias)
        return pb.DeleteAliasResponse()

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Return a page of the versions that a filter finds."""
        size = _page_size(request.page_size)
        page = self._discovery.search(request.filter, request.order_by, size, request.page_token)
        results = [
            pb.SearchResult(model=convert.model_to_pb(model), version=convert.version_to_pb(version))
            for model, version in page.results
        ]
        return pb.SearchResponse(
            results=results, next_page_token=page.next_page_token, revision=self._discovery.revision
        )

    async def FindMissingChunks(
        self, request: pb.FindMissingChunksRequest, context: Context
    ) -> pb.FindMissingChunksResponse:
        """Say which chunks must still be sent."""
        sizes = await self._store.sizes(request.digests)
        return pb.FindMissingChunksResponse(digests=[d for d, size_bytes in sizes.items() if size_bytes is None])

    async def UploadChunks(
        self, requests: AsyncIterator[pb.UploadChunksRequest], context: Context
    ) -> pb.UploadChunksResponse:
        """Keep chunks; at most one of them is in memory at a time."""
        intake = Intake(self._store)
        try:
            async for request in requests:
                if request.WhichOneof("part") == "header":
                    intake.begin(request.header.digest, request.header.size_bytes)
                else:
                    await intake.add(request.data)
            intake.end()
        except ModelyardError:
            await _drain(requests)
            raise
        return pb.UploadChunksResponse(chunks=intake.chunks, size_bytes=intake.size_bytes)

    async def GetManifest(self, request: pb.GetManifestRequest, context: Context) -> pb.Manifest:
        """Return the files of a version."""
        return convert.manifest_to_pb(await load_manifest(self._store, request.digest))

    async def DownloadChunks(
        self, request: pb.DownloadChunksRequest, context: Context
    ) -> AsyncIterator[pb.DownloadChunksResponse]:
        """Stream chunks in the order asked for, verified before the first byte of each is sent."""
        for digest in request.digests:
            data = await self._store.get(digest)
            yield pb.DownloadChunksResponse(header=pb.ChunkHeader(digest=digest, size_bytes=len(data)))
            for start in range(0, len(data), PIECE_BYTES):
                yield pb.DownloadChunksResponse(data=data[start : start + PIECE_BYTES])


async def _drain(requests: AsyncIterator[pb.UploadChunksRequest]) -> None:
    """Read on while more is coming: grpc.aio's client loses a status that reaches it while it writes."""
    left_bytes = DRAIN_BYTES
    with contextlib.suppress(StopAsyncIteration, TimeoutError):
        while left_bytes > 0:
            async with asyncio.timeout(SILENCE_S):
                left_bytes -= (await anext(requests)).ByteSize() or 1
