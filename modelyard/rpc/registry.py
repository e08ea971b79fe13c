"""The registry, as a source of artifacts: whichever replica answers; also for threads, which wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import grpc.aio

from modelyard.backoff import Backoff
from modelyard.catalogue import Manifest
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.chunkstream import chunk_pieces
from modelyard.rpc.status import error_of
from modelyard.v1 import registry_pb2

TIMEOUT_S = 30.0
PATIENCE_S = 30.0
T = TypeVar("T")
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
            DataLossError: a chunk is damaged.
            NotFoundError: a chunk is gone from the store.
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


class BlockingSource:
    """RegistrySource for threads: its calls are made in an event loop that runs in another one, and repeated."""

    def __init__(self, source: RegistrySource, loop: asyncio.AbstractEventLoop, patience_s: float = PATIENCE_S) -> None:
        """`patience_s`: how long a registry that is away is waited for."""
        self._source = source
        self._loop = loop
        self._patience_s = patience_s

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest; not in the loop's own thread, which would wait for itself.

        Raises:
            NotFoundError: there is none.
            UnavailableError: no registry is there, for as long as one is waited for.
        """
        return self._begin(lambda: self._source.manifest(digest)).result()

    def fetch(self, chunk: Chunk) -> Future[bytes]:
        """Begin to fetch a chunk, for `datasets.chunked`.

        Its errors: DataLossError, if the chunk is gone or has another sha256, and UnavailableError as above.
        """
        return self._begin(lambda: self._whole(chunk))

    async def _whole(self, chunk: Chunk) -> bytes:
        pieces, digest = [], hashlib.sha256()
        try:
            async with contextlib.aclosing(self._source.pieces([chunk])) as coming:
                async for piece in coming:
                    digest.update(piece)
                    pieces.append(piece)
        except NotFoundError as error:
            name = f"{chunk.file.path}: chunk {chunk.index}"
            raise DataLossError(f"{name} is not in the artifact store any more") from error
        if digest.hexdigest() != chunk.digest:
            raise DataLossError(f"{chunk.file.path}: chunk {chunk.index} arrived with another sha256")
        return b"".join(pieces)

    def _begin(self, call: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(self._repeated(call), self._loop)

    async def _repeated(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        backoff, until_s = Backoff(0.05, 1.0), time.monotonic() + self._patience_s
        while True:
            try:
                return await call()
            except UnavailableError:
                delay_s = backoff.next()
                if time.monotonic() + delay_s >= until_s:
                    raise
            await asyncio.sleep(delay_s)
