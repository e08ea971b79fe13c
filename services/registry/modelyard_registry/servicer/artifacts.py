"""The methods on chunks, manifests and files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from modelyard.errors import ModelyardError
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.intake import Intake
from modelyard_registry.artifacts.manifests import load_manifest
from modelyard_registry.artifacts.store import ChunkStore

PIECE_BYTES = 1 << 20
DRAIN_BYTES = 64 << 20
SILENCE_S = 1.0
"""So much of an upload that has failed is read on, and so long a pause ends that."""


class ArtifactMethods:
    """Bytes in and out; a bounded number of them in memory."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store

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
