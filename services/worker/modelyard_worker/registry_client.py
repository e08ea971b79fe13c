"""The registry, as a source of artifacts: whichever replica answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence

import grpc.aio

from modelyard.catalogue import Manifest
from modelyard.chunks import Chunk
from modelyard.errors import UnavailableError
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.chunkstream import chunk_pieces
from modelyard.rpc.status import error_of
from modelyard.v1 import registry_pb2

TIMEOUT_S = 30.0
_SERVICE = registry_pb2.DESCRIPTOR.services_by_name["Registry"]


class RegistrySource:
    """Reads manifests and chunks from the live registry replicas, in turn."""

    def __init__(self, addresses: Callable[[], Iterable[str]]) -> None:
        """`addresses` returns the replicas that are live now."""
        self._addresses = addresses
        self._turn = 0

    @contextlib.asynccontextmanager
    async def _stub(self) -> AsyncIterator[Stub]:
        live = sorted(self._addresses())
        if not live:
            raise UnavailableError("no registry is live", retry_after_s=1.0)
        self._turn += 1
        async with open_channel(live[self._turn % len(live)]) as channel:
            try:
                yield Stub(channel, _SERVICE)
            except grpc.aio.AioRpcError as failure:
                raise error_of(failure) from failure

    async def manifest(self, digest: str) -> Manifest:
        """Return a manifest."""
        async with self._stub() as stub:
            request = registry_pb2.GetManifestRequest(digest=digest)
            return convert.manifest_from_pb(await stub.GetManifest(request, timeout=TIMEOUT_S))

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        """The bytes of these chunks in their order, in pieces, none of which is of two chunks.

        Raises:
            UnavailableError: no registry is live, or it went away, or it says nothing for too long.
            DataLossError: a chunk is damaged, or gone from the store.
        """
        async with self._stub() as stub:
            request = registry_pb2.DownloadChunksRequest(digests=[chunk.digest for chunk in chunks])
            call = stub.DownloadChunks(request)
            try:
                async for piece in chunk_pieces(call, chunks, _within):
                    yield piece
            finally:
                call.cancel()


@contextlib.asynccontextmanager
async def _within() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except TimeoutError:
        raise UnavailableError(f"the registry sent no more bytes within {TIMEOUT_S:g} s") from None
