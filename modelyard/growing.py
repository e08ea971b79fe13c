"""A file on its way here: it grows chunk by chunk, each verified, and goes on where it was when it broke off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from modelyard.catalogue import CHUNK_SIZE_BYTES, File
from modelyard.chunks import Chunk, chunks_of, count_whole_chunks
from modelyard.errors import DataLossError

BLOCK_BYTES = 1 << 20


class GrowingFile:
    """What is there of a file. All methods block, but for `receive`.

    Attributes:
        waiting: the chunks that are not there yet, in order.
    """

    def __init__(self, path: Path, file: File, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> None:
        """Keep the whole chunks that an earlier attempt has left at `path`; what follows them goes.

        Raises:
            OSError: the disk.
        """
        chunks = chunks_of(file, chunk_size_bytes)
        done = count_whole_chunks(path, file, chunk_size_bytes)
        self.waiting = deque(chunks[done:])
        self._path = file.path
        self._whole_bytes = sum(chunk.size_bytes for chunk in chunks[:done])
        self._come_bytes = 0
        self._sha256 = hashlib.sha256()
        self._busy = threading.Lock()  # held by who writes: a thread cannot be called back when its caller is cancelled
        self._out: IO[bytes] = path.open("r+b" if done else "wb", buffering=0)
        self.rewind()

    def __enter__(self) -> GrowingFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._busy:
            self._out.close()

    @property
    def whole_bytes(self) -> int:
        """How many bytes are there, verified."""
        return self._whole_bytes

    def rewind(self) -> None:
        """Drop what has come of a chunk that is not whole."""
        with self._busy:
            self._out.truncate(self._whole_bytes)
            self._out.seek(self._whole_bytes)
            self._begin_chunk()

    def _begin_chunk(self) -> None:
        self._come_bytes = 0
        self._sha256 = hashlib.sha256()

    def write(self, block: Sequence[bytes]) -> list[Chunk]:
        """Add bytes, each piece of one chunk only; return the chunks that became whole.

        Raises:
            DataLossError: a chunk has another sha256, or more bytes than it should. `rewind` before you go on.
            OSError: the disk.
        """
        with self._busy:
            return [chunk for piece in block if (chunk := self._take(piece))]

    def _take(self, piece: bytes) -> Chunk | None:
        """Add a piece; return the chunk that it makes whole."""
        self._check_room(piece)
        self._sha256.update(piece)
        self._write(memoryview(piece))
        self._come_bytes += len(piece)
        return self._finish_chunk() if self._come_bytes == self.waiting[0].size_bytes else None

    def _check_room(self, piece: bytes) -> None:
        if not self.waiting:
            raise DataLossError(f"{self._path}: expected no more bytes, got {len(piece)}")
        chunk = self.waiting[0]
        if self._come_bytes + len(piece) > chunk.size_bytes:
            raise DataLossError(
                f"{self._path}: expected chunk {chunk.digest}, got more than its {chunk.size_bytes} bytes"
            )

    def _write(self, left: memoryview) -> None:
        while left:
            left = left[self._out.write(left) :]

    def _finish_chunk(self) -> Chunk:
        chunk = self.waiting[0]
        found = self._sha256.hexdigest()
        if found != chunk.digest:
            raise DataLossError(f"{self._path}: expected chunk {chunk.digest}, got another sha256: {found}")
        self._whole_bytes += chunk.size_bytes
        self._begin_chunk()
        return self.waiting.popleft()

    def sync(self) -> None:
        """Have it on disk."""
        os.fsync(self._out.fileno())

    async def receive(self, pieces: AsyncIterable[bytes], on_chunk: Callable[[Chunk], None]) -> None:
        """Write pieces as they come, each block in a thread while the next comes in; tell of every whole chunk.

        When the pieces end, or fail, what has come of a chunk that is not whole is dropped.

        Raises:
            DataLossError: as `write`.
            OSError: the disk.
        """
        writer = _Writer(self, on_chunk)
        try:
            async for piece in pieces:
                await writer.add(piece)
        finally:
            try:
                await writer.finish()
            finally:
                await asyncio.to_thread(self.rewind)


class _Writer:
    """Gathers pieces, and writes a block of them at a time."""

    def __init__(self, file: GrowingFile, on_chunk: Callable[[Chunk], None]) -> None:
        self._file = file
        self._on_chunk = on_chunk
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._writing: asyncio.Future[list[Chunk]] | None = None

    async def add(self, piece: bytes) -> None:
        """Take a piece; if that makes a block, begin to write it."""
        self._block.append(piece)
        self._block_bytes += len(piece)
        if self._block_bytes >= BLOCK_BYTES:
            await self._write()

    async def finish(self) -> None:
        """Write what was gathered, and return when nothing is being written."""
        await self._write()
        await self._written()

    async def _write(self) -> None:
        await self._written()
        block, self._block, self._block_bytes = self._block, [], 0
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._file.write, block))

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                chunks = await asyncio.shield(writing)
            except BaseException:
                self._block = []  # what comes after a gap is of no use
                raise
            for chunk in chunks:
                self._on_chunk(chunk)
