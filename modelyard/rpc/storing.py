"""Bytes of jobs on their way into the artifact store: hashed, then only those chunks sent that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import grpc.aio

from modelyard import codec
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.chunks import Chunk, distinct_chunks, hashed
from modelyard.errors import DataLossError
from modelyard.jobs.found import Stored
from modelyard.rpc.registry import PATIENCE_S, SERVICE, TIMEOUT_S, answering, patiently
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.status import TENANT_KEY
from modelyard.tasks import to_its_end
from modelyard.v1 import registry_pb2 as pb

PIECE_BYTES = 1 << 20
QUESTION_DIGESTS = 10_000


class Storing:
    """Stores bytes by the live registry replicas, in turn; `close` it in the end."""

    def __init__(self, addresses: Callable[[], Iterable[str]], patience_s: float = PATIENCE_S) -> None:
        """Nothing is opened yet.

        Args:
            addresses: returns the replicas that are live now.
            patience_s: how long each step waits for a registry that is away.
        """
        self._replicas = Replicas("registry", addresses)
        self._patience_s = patience_s

    async def close(self) -> None:
        """Close the channels; what is being sent is cancelled."""
        await self._replicas.close()

    async def store(self, content: BinaryIO | bytes, size_bytes: int, *, tenant: str, upload: str) -> Stored:
        """Store a file without a manifest; return when all chunks are kept. To repeat it is safe.

        They are held for a day from now on: whoever wants them for longer holds them by then.

        Args:
            content: all of it; a file is read in threads, from its beginning, and stays open.
            size_bytes: how much that is.
            tenant: on whose behalf.
            upload: a name (modelyard.names) that the hold goes by, the same for all that belongs together.

        Raises:
            UnavailableError: no registry could be reached for so long.
            ExhaustedError: the artifact store is full.
            DataLossError: the content is not as long as said, or changed meanwhile.
            InvalidInputError: `upload` or `tenant` is no name.
        """
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        file = await to_its_end(lambda: _hashed(source))
        if file.size_bytes != size_bytes:
            raise DataLossError(f"upload {upload}: expected {size_bytes} bytes, got {file.size_bytes}")
        metadata = ((TENANT_KEY, tenant),)
        chunks = distinct_chunks(Manifest((file,)))
        for digest in await self._missing(list(chunks), upload, metadata):
            await self._send(source, chunks[digest], metadata)
        return Stored(size_bytes, file.chunks)

    async def store_files(self, files: Iterable[tuple[File, Path | None]], *, tenant: str, upload: str) -> None:
        """Store files that are hashed already, without a manifest, as `store` does; the store is asked for all at once.

        Args:
            files: what each is, and where; None: it should be in the store already.
            tenant: see `store`.
            upload: see `store`.

        Raises:
            DataLossError: a file is not what it is said to be, or should be in the store and is not.
            Otherwise as `store`.
        """
        places = {digest: (path, chunk) for file, path in files for digest, chunk in _chunks(file)}
        metadata = ((TENANT_KEY, tenant),)
        for digest in await self._missing(list(places), upload, metadata):
            path, chunk = places[digest]
            if path is None:
                raise DataLossError(f"upload {upload}: a chunk is not in the artifact store any more")
            data = await to_its_end(partial(_read_at, path, chunk))
            await patiently(partial(self._upload, data, digest, metadata), self._patience_s)

    async def store_artifact(self, path: str, content: bytes, *, tenant: str, upload: str) -> str:
        """Store an artifact of one file; return its manifest's digest. Raises as `store`."""
        file = hashed(path, io.BytesIO(content).read)
        await self.store(content, len(content), tenant=tenant, upload=upload)
        manifest = codec.encode(Manifest((file,)))
        await self.store(manifest, len(manifest), tenant=tenant, upload=upload)
        return hashlib.sha256(manifest).hexdigest()

    async def _missing(self, digests: list[str], upload: str, metadata: Any) -> list[str]:
        """Hold the chunks; return those that have to be sent."""
        found: list[str] = []
        for start in range(0, len(digests), QUESTION_DIGESTS):
            request = pb.FindMissingChunksRequest(digests=digests[start : start + QUESTION_DIGESTS], upload=upload)
            found += await patiently(partial(self._ask, request, metadata), self._patience_s)
        return found

    async def _ask(self, request: pb.FindMissingChunksRequest, metadata: Any) -> list[str]:
        async with self._replicas.stub(SERVICE) as stub:
            answer = await stub.FindMissingChunks(request, timeout=TIMEOUT_S, metadata=metadata)
            return list(answer.digests)

    async def _send(self, source: BinaryIO, chunk: Chunk, metadata: Any) -> None:
        data = await to_its_end(lambda: _read(source, chunk))
        await patiently(partial(self._upload, data, chunk.digest, metadata), self._patience_s)

    async def _upload(self, data: bytes, digest: str, metadata: Any) -> None:
        async with self._replicas.stub(SERVICE) as stub:
            call = stub.UploadChunks(metadata=metadata)
            try:
                # A write fails when the server has ended the call: its answer says why.
                with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    await _write(call, data, digest)
                async with answering("the registry did not say that it kept a chunk"):
                    answer = await call
            finally:
                call.cancel()
        if answer.chunks != 1:
            raise DataLossError(f"upload: expected 1 chunk to be kept, got {answer.chunks}")


async def _write(call: Any, data: bytes, digest: str) -> None:
    header = pb.ChunkHeader(digest=digest, size_bytes=len(data))
    await _write_message(call, pb.UploadChunksRequest(header=header))
    for start in range(0, len(data), PIECE_BYTES):
        await _write_message(call, pb.UploadChunksRequest(data=data[start : start + PIECE_BYTES]))
    await call.done_writing()


async def _write_message(call: Any, message: pb.UploadChunksRequest) -> None:
    async with answering("the registry took no more bytes"):
        await call.write(message)


def _hashed(source: BinaryIO) -> File:
    source.seek(0)
    return hashed("", source.read)


def _chunks(file: File) -> Iterable[tuple[str, Chunk]]:
    return distinct_chunks(Manifest((file,))).items()


def _read_at(path: Path, chunk: Chunk) -> bytes:
    with path.open("rb") as source:
        return _read(source, chunk)


def _read(source: BinaryIO, chunk: Chunk) -> bytes:
    source.seek(chunk.index * CHUNK_SIZE_BYTES)
    data = source.read(chunk.size_bytes)
    if hashlib.sha256(data).hexdigest() != chunk.digest:
        raise DataLossError(f"upload: chunk {chunk.index} changed while it was being read")
    return data
