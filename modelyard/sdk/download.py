"""Fetching the files of a version: verified, resumable, one chunk in memory for each file under way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Any

import grpc.aio

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk, chunks_of, count_whole_chunks, is_whole, target_path
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import Connection
from modelyard.sdk.gather import gather
from modelyard.sdk.meter import Meter, OnProgress
from modelyard.sdk.routes import Route, routes
from modelyard.v1 import registry_pb2 as pb

STREAMS = 3


class Download:
    """The files of one artifact on their way into a directory."""

    def __init__(
        self, connection: Connection, manifest: Manifest, directory: Path, on_progress: OnProgress | None
    ) -> None:
        self._connection = connection
        self._manifest = manifest
        self._directory = directory
        self._meter = Meter("receive", manifest.size_bytes, on_progress)

    async def run(self) -> None:
        """Return once every file is whole; files that were so before are left as they are.

        Raises:
            DataLossError: a chunk has another sha256 than the manifest says.
            UnavailableError: no registry could be reached in time.
        """
        targets = [(file, target_path(self._directory, file.path)) for file in self._manifest.files]
        async with routes(self._connection) as ways:
            waiting = iter(targets)

            async def fetch_files() -> None:
                for file, target in waiting:
                    await self._fetch_file(ways, file, target)

            await gather([fetch_files() for _ in range(STREAMS)])

    async def _fetch_file(self, ways: list[Route], file: File, target: Path) -> None:
        if await asyncio.to_thread(is_whole, target, file, self._manifest.chunk_size_bytes):
            self._meter.add(0, present_bytes=file.size_bytes)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_path(target, file)
        done = await asyncio.to_thread(count_whole_chunks, partial, file, self._manifest.chunk_size_bytes)
        self._meter.add(0, present_bytes=sum(c.size_bytes for c in self._chunks(file)[:done]))
        for way in ways:
            # What a direct address cannot give, another registry than ours perhaps, the relay may have.
            failures = (UnavailableError, NotFoundError, DataLossError) if way.direct else ()
            with contextlib.suppress(*failures):
                await self._fetch_chunks(way, file, partial)
                partial.replace(target)
                return

    def _chunks(self, file: File) -> list[Chunk]:
        return chunks_of(file, self._manifest.chunk_size_bytes)

    async def _fetch_chunks(self, way: Route, file: File, partial: Path) -> None:
        done = await asyncio.to_thread(count_whole_chunks, partial, file, self._manifest.chunk_size_bytes)
        with partial.open("r+b" if done else "wb") as out:
            out.truncate(done * self._manifest.chunk_size_bytes)
            out.seek(0, os.SEEK_END)
            await self._receive(way, deque(self._chunks(file)[done:]), out)

    async def _receive(self, way: Route, waiting: deque[Chunk], out: IO[bytes]) -> None:
        attempts = Attempts(self._connection.timeout_s)
        while waiting:
            try:
                async with contextlib.aclosing(self._stream(way, list(waiting))) as stream:
                    async for data in stream:
                        await asyncio.to_thread(out.write, data)
                        self._meter.add(waiting.popleft().size_bytes)
                        attempts.restart()
            except grpc.aio.AioRpcError as failure:
                error = self._connection.error_of(failure)
            else:
                return
            if way.direct:
                raise error
            await asyncio.sleep(attempts.delay_s(error))

    async def _stream(self, way: Route, waiting: list[Chunk]) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of each chunk, verified."""
        request = pb.DownloadChunksRequest(digests=[chunk.digest for chunk in waiting])
        call = way.registry.DownloadChunks(request, metadata=self._connection.metadata, wait_for_ready=not way.direct)
        try:
            for chunk in waiting:
                data = await self._read_chunk(call, chunk)
                if await asyncio.to_thread(_sha256, data) != chunk.digest:
                    raise DataLossError(f"{chunk.file.path}: chunk {chunk.index} has another sha256 than expected")
                yield data
        finally:
            call.cancel()

    async def _read_chunk(self, call: Any, chunk: Chunk) -> bytes:
        header = await self._read(call, chunk)
        if header.header.digest != chunk.digest:
            raise DataLossError(f"download: expected the header of chunk {chunk.digest}, got {header.header.digest!r}")
        data = bytearray()
        while len(data) < chunk.size_bytes:
            data += (await self._read(call, chunk)).data
        return bytes(data)

    async def _read(self, call: Any, chunk: Chunk) -> pb.DownloadChunksResponse:
        """The next part. The call has no deadline but for each step: how long it takes depends on the line."""
        async with self._connection.within("the registry sent no more bytes"):
            part = await call.read()
        if not isinstance(part, pb.DownloadChunksResponse):
            raise DataLossError(f"{chunk.file.path}: the download ended in chunk {chunk.index}")
        return part


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _partial_path(target: Path, file: File) -> Path:
    """Where a file grows until it is whole; named by its content, so that no other version goes on with it."""
    content = hashlib.sha256("".join(file.chunks).encode()).hexdigest()[:12]
    return target.with_name(f".{target.name}.{content}.part")
