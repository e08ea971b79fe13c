"""Sending chunks to a registry: only those that it lacks, several streams at a time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any

import grpc.aio

from modelyard import chunks
from modelyard.catalogue import CHUNK_SIZE_BYTES, Manifest
from modelyard.chunks import Chunk, distinct_chunks, read_chunk
from modelyard.errors import DataLossError, UnavailableError
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import Connection
from modelyard.sdk.gather import gather
from modelyard.sdk.meter import Meter, OnProgress
from modelyard.sdk.routes import Route, routes
from modelyard.v1 import registry_pb2 as pb

STREAMS = 3
PIECE_BYTES = 256 << 10
FAR_PIECE_BYTES = 1 << 20
"""The bytes of a message: few, since the registry has each of them in memory; more where each takes a round trip."""
FAR_S = 0.02
"""Messages that take longer than this are taken to wait for a round trip."""
BLOCK_BYTES = 2 << 20
"""So much is read from a file at a time."""
BATCH_CHUNKS = 256
QUESTION_DIGESTS = 10_000


async def scan(path: Path, on_progress: OnProgress | None) -> Manifest:
    """Return the manifest of a file, or of all files below a directory; raise as `chunks.scan`."""
    loop = asyncio.get_running_loop()
    total_bytes = sum(file.stat().st_size for file in await asyncio.to_thread(chunks.find_files, path))
    meter = Meter("read", total_bytes, on_progress)

    def add(size_bytes: int) -> None:
        loop.call_soon_threadsafe(meter.add, size_bytes)

    return await asyncio.to_thread(chunks.scan, path, add)


class Upload:
    """The chunks of one artifact on their way to a registry."""

    def __init__(
        self, connection: Connection, root: Path, manifest: Manifest, on_progress: OnProgress | None, upload_id: str
    ) -> None:
        """`upload_id`: what the registry knows this upload by until its version is published."""
        self._connection = connection
        self._root = root
        self._id = upload_id
        self._chunks = distinct_chunks(manifest)
        self._size_bytes = manifest.size_bytes
        self._on_progress = on_progress
        self._pace = Pace()

    async def run(self) -> None:
        """Return once the registry holds every chunk.

        Raises:
            DataLossError: a file changed meanwhile.
            UnavailableError: no registry could be reached in time.
            ExhaustedError: the artifact store is full.
        """
        missing = await self._missing()
        if not missing:
            self._meter([])
            return
        async with routes(self._connection) as ways:
            for way in ways:
                passed_over = (UnavailableError,) if way.direct else ()
                with contextlib.suppress(*passed_over):
                    await self._send(way, missing)
                # Asked through the front door: another registry than ours may have answered at a direct address.
                if way.direct and not (missing := await self._missing()):
                    return

    async def _missing(self) -> list[Chunk]:
        digests = list(self._chunks)
        found: list[Chunk] = []
        for start in range(0, len(digests), QUESTION_DIGESTS):
            request = pb.FindMissingChunksRequest(digests=digests[start : start + QUESTION_DIGESTS], upload=self._id)
            answer = await self._connection.call(self._connection.registry.FindMissingChunks, request)
            found += [self._chunks[digest] for digest in answer.digests]
        return found

    def _meter(self, missing: list[Chunk]) -> Meter:
        total_bytes = sum(chunk.size_bytes for chunk in missing)
        return Meter("send", total_bytes, self._on_progress, present_bytes=self._size_bytes - total_bytes)

    async def _send(self, way: Route, missing: list[Chunk]) -> None:
        meter = self._meter(missing)
        batches = _batches(missing)

        async def send_batches() -> None:
            for batch in batches:
                await self._send_batch(way, batch, meter)

        await gather([send_batches() for _ in range(STREAMS)])

    async def _send_batch(self, way: Route, batch: list[Chunk], meter: Meter) -> None:
        attempts = Attempts(self._connection.timeout_s)
        while True:
            stream = _Stream(self._connection, way, meter, self._pace)
            try:
                await stream.send(self._root, batch)
            except grpc.aio.AioRpcError as failure:
                error = self._connection.error_of(failure)
            else:
                return
            stream.forget()
            if isinstance(error, DataLossError):
                await asyncio.to_thread(_check_files, self._root, batch)
            if way.direct:
                raise error
            await asyncio.sleep(attempts.delay_s(error))


class _Stream:
    """One UploadChunks call. It has no deadline but for each step: how long it takes depends on the line."""

    def __init__(self, connection: Connection, way: Route, meter: Meter, pace: Pace) -> None:
        self._connection = connection
        self._meter = meter
        self._pace = pace
        self._call = way.registry.UploadChunks(metadata=connection.metadata, wait_for_ready=not way.direct)
        self._sent_bytes = 0

    async def send(self, root: Path, batch: list[Chunk]) -> None:
        """Send chunks and return when they are kept."""
        try:
            # A write fails when the server has ended the call: its answer says why.
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                for chunk in batch:
                    await self._send_chunk(root, chunk)
                await self._call.done_writing()
            async with self._connection.within("the registry did not say that it kept the chunks"):
                answer = await self._call
        finally:
            self._call.cancel()
        if answer.chunks != len(batch):
            raise DataLossError(f"upload: expected {len(batch)} chunks to be kept, got {answer.chunks}")

    async def _send_chunk(self, root: Path, chunk: Chunk) -> None:
        """Send the bytes as they are: the registry compares them with the digest."""
        header = pb.ChunkHeader(digest=chunk.digest, size_bytes=chunk.size_bytes)
        await self._write(pb.UploadChunksRequest(header=header))
        began_s = time.monotonic()
        blocks = read_blocks(root, chunk, self._pace.piece_bytes)
        while block := await asyncio.to_thread(next, blocks, None):
            for piece in block:
                await self._write(pb.UploadChunksRequest(data=piece))
                self._sent_bytes += len(piece)
                self._meter.add(len(piece))
        self._pace.note(chunk.size_bytes, time.monotonic() - began_s)

    async def _write(self, message: Any) -> None:
        async with self._connection.within("the registry took no more bytes"):
            await self._call.write(message)

    def forget(self) -> None:
        """Take back what was counted: it must be sent again."""
        self._meter.add(-self._sent_bytes)


class Pace:
    """How large the messages of an upload are."""

    def __init__(self) -> None:
        self.piece_bytes = PIECE_BYTES

    def note(self, size_bytes: int, seconds: float) -> None:
        """Learn from how long so many bytes took."""
        messages = -(-size_bytes // self.piece_bytes)
        self.piece_bytes = FAR_PIECE_BYTES if seconds > messages * FAR_S else PIECE_BYTES


def read_blocks(root: Path, chunk: Chunk, piece_bytes: int = PIECE_BYTES) -> Iterator[list[bytes]]:
    """Yield the bytes of a chunk in pieces, some of them at a time; raise DataLossError if the file is gone."""
    path = root / PurePosixPath(chunk.file.path)
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise DataLossError(f"{path}: was removed while it was being read") from None
    with file:
        file.seek(chunk.index * CHUNK_SIZE_BYTES)
        left_bytes = chunk.size_bytes
        while left_bytes:
            block = list(_pieces(file, min(left_bytes, BLOCK_BYTES), piece_bytes))
            left_bytes -= sum(map(len, block))
            yield block


def _pieces(file: FileIO, size_bytes: int, piece_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        piece = file.read(min(size_bytes, piece_bytes))
        if not piece:
            raise DataLossError(f"{file.name!s}: changed while it was being read")
        size_bytes -= len(piece)
        yield piece


def _check_files(root: Path, batch: list[Chunk]) -> None:
    """Raise DataLossError if a file is not any more what it was: then the registry was right to refuse it."""
    for chunk in batch:
        read_chunk(root, chunk)


def _batches(missing: list[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks in order, together up to one chunk's full size: what one call carries and what a retry repeats."""
    batch: list[Chunk] = []
    size_bytes = 0
    for chunk in missing:
        if batch and (size_bytes + chunk.size_bytes > CHUNK_SIZE_BYTES or len(batch) == BATCH_CHUNKS):
            yield batch
            batch, size_bytes = [], 0
        batch.append(chunk)
        size_bytes += chunk.size_bytes
    if batch:
        yield batch
