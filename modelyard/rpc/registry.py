"""The registry, as a source of artifacts: whichever replica answers; also for threads, which wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from modelyard.backoff import Backoff
from modelyard.catalogue import Manifest
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard.rpc import convert
from modelyard.rpc.chunkstream import chunk_pieces
from modelyard.rpc.replicas import Replicas
from modelyard.v1 import registry_pb2

TIMEOUT_S = 30.0
PATIENCE_S = 30.0
T = TypeVar("T")
SERVICE = registry_pb2.DESCRIPTOR.services_by_name["Registry"]


class RegistrySource:
    """Reads manifests and chunks from the live registry replicas, in turn; `close` it in the end."""

    def __init__(self, addresses: Callable[[], Iterable[str]]) -> None:
        """`addresses` returns the replicas that are live now."""
        self._replicas = Replicas("registry", addresses)

    async def close(self) -> None:
        """Close the channels; what is being read is cancelled."""
        await self._replicas.close()

    async def manifest(self, digest: str) -> Manifest:
        """Return a manifest."""
        async with self._replicas.stub(SERVICE) as stub:
            request = registry_pb2.GetManifestRequest(digest=digest)
            return convert.manifest_from_pb(await stub.GetManifest(request, timeout=TIMEOUT_S))

    async def pieces(self, chunks: Sequence[Chunk], *, unverified: bool = False) -> AsyncGenerator[bytes, None]:
        """The bytes of these chunks in their order, in pieces, none of which is of two chunks.

        Args:
            chunks: which.
            unverified: the caller compares each sha256; if one is another it asks again without this, and the registry
                then learns what it has of the chunk, and says so.

        Raises:
            UnavailableError: no registry is live, or it went away, or it says nothing for too long.
            DataLossError: a chunk is damaged.
            NotFoundError: a chunk is gone from the store.
        """
        async with self._replicas.stub(SERVICE) as stub:
            digests = [chunk.digest for chunk in chunks]
            request = registry_pb2.DownloadChunksRequest(digests=digests, unverified=unverified)
            call = stub.DownloadChunks(request)
            try:
                async for piece in chunk_pieces(call, chunks, _sending):
                    yield piece
            finally:
                call.cancel()


@contextlib.asynccontextmanager
async def _sending() -> AsyncIterator[None]:
    async with answering("the registry sent no more bytes"):
        yield


@contextlib.asynccontextmanager
async def answering(what: str) -> AsyncIterator[None]:
    """Bound a step of a call by TIMEOUT_S; UnavailableError, which says `what` did not happen, when it takes longer."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except TimeoutError:
        raise UnavailableError(f"{what} within {TIMEOUT_S:g} s") from None


async def patiently(call: Callable[[], Coroutine[Any, Any, T]], patience_s: float = PATIENCE_S) -> T:
    """Repeat a call while the registry is away, for so long; raise its last UnavailableError then."""
    backoff, until_s = Backoff(0.05, 1.0), time.monotonic() + patience_s
    while True:
        try:
            return await call()
        except UnavailableError:
            delay_s = backoff.next()
            if time.monotonic() + delay_s >= until_s:
                raise
        await asyncio.sleep(delay_s)


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
        name = f"{chunk.file.path}: chunk {chunk.index}"
        try:
            data = await self._received(chunk, unverified=True) or await self._received(chunk, unverified=False)
        except NotFoundError as error:
            raise DataLossError(f"{name} is not in the artifact store any more") from error
        if data is None:
            raise DataLossError(f"{name} arrived with another sha256")
        return data

    async def _received(self, chunk: Chunk, *, unverified: bool) -> bytes | None:
        """What comes of a chunk; None if that has another sha256."""
        pieces, digest = [], hashlib.sha256()
        async with contextlib.aclosing(self._source.pieces([chunk], unverified=unverified)) as coming:
            async for piece in coming:
                digest.update(piece)
                pieces.append(piece)
        return b"".join(pieces) if digest.hexdigest() == chunk.digest else None

    def _begin(self, call: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(patiently(call, self._patience_s), self._loop)
