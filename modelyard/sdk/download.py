"""Fetching the files of a version: verified, resumable, a few blocks in memory for each file under way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import grpc.aio

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk, is_whole, target_path
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard.growing import GrowingFile
from modelyard.rpc.chunkstream import chunk_pieces
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
        chunk_size_bytes = self._manifest.chunk_size_bytes
        if await asyncio.to_thread(is_whole, target, file, chunk_size_bytes):
            self._meter.add(0, present_bytes=file.size_bytes)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _partial_path(target, file)
        with await asyncio.to_thread(GrowingFile, unfinished, file, chunk_size_bytes) as growing:
            self._meter.add(0, present_bytes=growing.whole_bytes)
            await self._fetch_chunks(ways, growing)
        unfinished.replace(target)

    async def _fetch_chunks(self, ways: list[Route], growing: GrowingFile) -> None:
        for way in ways:
            # What a direct address cannot give, another registry than ours perhaps, the relay may have.
            failures = (UnavailableError, NotFoundError, DataLossError) if way.direct else ()
            with contextlib.suppress(*failures):
                await self._receive(way, growing)
                return

    async def _receive(self, way: Route, growing: GrowingFile) -> None:
        attempts = Attempts(self._connection.timeout_s)

        def count(chunk: Chunk) -> None:
            self._meter.add(chunk.size_bytes)
            attempts.restart()

        while growing.waiting:
            try:
                async with contextlib.aclosing(self._pieces(way, list(growing.waiting))) as pieces:
                    await growing.receive(pieces, count)
            except grpc.aio.AioRpcError as failure:
                error = self._connection.error_of(failure)
            else:
                return
            if way.direct:
                raise error
            await asyncio.sleep(attempts.delay_s(error))

    async def _pieces(self, way: Route, waiting: list[Chunk]) -> AsyncGenerator[bytes, None]:
        request = pb.DownloadChunksRequest(digests=[chunk.digest for chunk in waiting])
        call = way.registry.DownloadChunks(request, metadata=self._connection.metadata, wait_for_ready=not way.direct)
        within = partial(self._connection.within, "the registry sent no more bytes")
        try:
            async for piece in chunk_pieces(call, waiting, within):
                yield piece
        finally:
            call.cancel()


def _partial_path(target: Path, file: File) -> Path:
    """Where a file grows until it is whole; named by its content, so that no other version goes on with it."""
    content = hashlib.sha256("".join(file.chunks).encode()).hexdigest()[:12]
    return target.with_name(f".{target.name}.{content}.part")
