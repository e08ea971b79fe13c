"""What a DownloadChunks call brings, as bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from modelyard.chunks import Chunk
from modelyard.errors import DataLossError
from modelyard.v1 import registry_pb2 as pb

Within = Callable[[], AbstractAsyncContextManager[None]]
"""Bounds one step of a call. A whole call has no deadline: how long it takes depends on the line."""


async def chunk_pieces(call: Any, chunks: Iterable[Chunk], within: Within) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of chunks in pieces as they come; none is of two chunks. Cancel the call afterwards.

    Args:
        call: of DownloadChunks, for these very chunks in this order.
        chunks: what is expected.
        within: entered around each step.

    Raises:
        DataLossError: another chunk comes, or the stream ends early. Whether the bytes are right is not looked at.
        grpc.aio.AioRpcError: the call fails.
    """
    for chunk in chunks:
        header = await _read(call, chunk, within)
        if header.header.digest != chunk.digest:
            raise DataLossError(f"download: expected the header of chunk {chunk.digest}, got {header.header.digest!r}")
        left_bytes = chunk.size_bytes
        while left_bytes > 0:
            data = (await _read(call, chunk, within)).data
            left_bytes -= len(data)
            yield data


async def _read(call: Any, chunk: Chunk, within: Within) -> pb.DownloadChunksResponse:
    async with within():
        part = await call.read()
    if not isinstance(part, pb.DownloadChunksResponse):
        raise DataLossError(f"{chunk.file.path}: the download ended in chunk {chunk.index}")
    return part
