"""The methods on chunks, manifests and files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from modelyard.errors import ModelyardError
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.intake import Intake
from modelyard_registry.artifacts.lanes import Lane, Lanes
from modelyard_registry.artifacts.manifests import load_manifest
from modelyard_registry.artifacts.reading import slices
from modelyard_registry.artifacts.scratch import ChunkFile
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.artifacts.uploads import Uploads
from modelyard_registry.catalogue.versions import Versions

PIECE_BYTES = 512 << 10
"""The bytes of a message: of larger ones each stream takes more memory, smaller ones take more time."""
DRAIN_BYTES = 64 << 20
SILENCE_S = 1.0
"""So much of an upload that has failed is read on, and so long a pause ends that."""


class ArtifactMethods:
    """Bytes in and out; a bounded number of them in memory."""

    def __init__(self, store: ChunkStore, uploads: Uploads, versions: Versions) -> None:
        self._store = store
        self._uploads = uploads
        self._versions = versions
        self._lanes = Lanes()
        self.received_bytes = 0
        """Of chunks that were kept."""
        self.sent_bytes = 0
        """Of chunks and files."""

    async def FindMissingChunks(
        self, request: pb.FindMissingChunksRequest, context: Context
    ) -> pb.FindMissingChunksResponse:
        """Hold the chunks; say which must still be sent."""
        missing = await self._uploads.missing(request.digests, request.upload, tenant_of(context))
        return pb.FindMissingChunksResponse(digests=missing)

    async def UploadChunks(
        self, requests: AsyncIterator[pb.UploadChunksRequest], context: Context
    ) -> pb.UploadChunksResponse:
        """Keep chunks."""
        intake = Intake(self._store)
        try:
            async with self._lanes.lane() as lane:
                await _take_in(requests, intake, lane)
        except ModelyardError:
            await _drain(requests)
            raise
        finally:
            self.received_bytes += intake.size_bytes
            await intake.close()
        return pb.UploadChunksResponse(chunks=intake.chunks, size_bytes=intake.size_bytes)

    async def GetManifest(self, request: pb.GetManifestRequest, context: Context) -> pb.Manifest:
        """Return the files of a version."""
        return convert.manifest_to_pb(await load_manifest(self._store, request.digest))

    async def DownloadChunks(
        self, request: pb.DownloadChunksRequest, context: Context
    ) -> AsyncIterator[pb.DownloadChunksResponse]:
        """Stream chunks in the order asked for; each is verified before it is sent, unless the caller does that."""
        async with self._lanes.lane() as lane:
            for digest in request.digests:
                await lane.enter()
                with contextlib.closing(await self._store.open(digest, verified=not request.unverified)) as chunk:
                    header = pb.ChunkHeader(digest=digest, size_bytes=chunk.size_bytes)
                    yield pb.DownloadChunksResponse(header=header)
                    async with contextlib.aclosing(_pieces(chunk, 0, chunk.size_bytes, lane)) as pieces:
                        async for piece in pieces:
                            self.sent_bytes += len(piece)
                            yield pb.DownloadChunksResponse(data=piece)
                lane.leave()

    async def ReadFile(self, request: pb.ReadFileRequest, context: Context) -> AsyncIterator[pb.ReadFileResponse]:
        """Stream a part of a file of a version; every chunk of it is verified before the first byte of it is sent."""
        version = await self._versions.get(request.model, request.version)
        manifest = await load_manifest(self._store, version.manifest_digest)
        async with self._lanes.lane() as lane:
            for part in slices(manifest, request.path, request.offset, request.length):
                await lane.enter()
                with contextlib.closing(await self._store.open_named(part.digest)) as chunk:
                    async with contextlib.aclosing(_pieces(chunk, part.start, part.end, lane)) as pieces:
                        async for piece in pieces:
                            self.sent_bytes += len(piece)
                            yield pb.ReadFileResponse(data=piece)
                lane.leave()


async def _take_in(requests: AsyncIterator[pb.UploadChunksRequest], intake: Intake, lane: Lane) -> None:
    """Read a whole upload; only in the lane is anything read, and between chunks others are let in."""
    await lane.enter()
    while await _take_next(requests, intake, lane):
        if intake.between:
            lane.leave()
        await lane.enter()
    intake.end()


async def _take_next(requests: AsyncIterator[pb.UploadChunksRequest], intake: Intake, lane: Lane) -> bool:
    """Read a header or a piece; return whether there was one. It is in no variable while the lane is waited for."""
    with lane.waiting():
        request = await anext(requests, None)
    if request is None:
        return False
    await lane.enter()
    if request.WhichOneof("part") == "header":
        intake.begin(request.header.digest, request.header.size_bytes)
    else:
        await intake.add(request.data)
    return True


async def _pieces(chunk: ChunkFile, start: int, end: int, lane: Lane) -> AsyncGenerator[bytes, None]:
    """Read a part of a chunk; the consumer sends each piece before it asks for the next."""
    for at in range(start, end, PIECE_BYTES):
        await lane.enter()
        piece = await asyncio.to_thread(chunk.read, at, min(at + PIECE_BYTES, end))
        with lane.waiting():
            yield piece


async def _drain(requests: AsyncIterator[pb.UploadChunksRequest]) -> None:
    """Read on while more is coming: grpc.aio's client loses a status that reaches it while it writes."""
    left_bytes = DRAIN_BYTES
    with contextlib.suppress(StopAsyncIteration, TimeoutError):
        while left_bytes > 0:
            async with asyncio.timeout(SILENCE_S):
                left_bytes -= (await anext(requests)).ByteSize() or 1
