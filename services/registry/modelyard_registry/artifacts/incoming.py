"""A chunk on its way in: its bytes go into a file of ours as they come, so that a slow client costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from modelyard_registry.artifacts.scratch import ScratchFile
from modelyard_registry.artifacts.store import ChunkStore

BLOCK_BYTES = 1 << 20
BLOCK_PIECES = 64
"""So many bytes, or pieces, are gathered before they are written."""


class Incoming:
    """The bytes of one chunk, in pieces. Close it at the end: what has not come whole is gone then."""

    def __init__(self, store: ChunkStore, digest: str, size_bytes: int) -> None:
        """`digest` is the sha256 that it must have, `size_bytes` its size."""
        self.digest = digest
        self.size_bytes = size_bytes
        self.received_bytes = 0
        self._store = store
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._scratch: ScratchFile | None = None
        self._working: asyncio.Future[None] | None = None

    @property
    def whole(self) -> bool:
        """Whether all bytes are here."""
        return self.received_bytes == self.size_bytes

    async def add(self, piece: bytes) -> None:
        """Take the next bytes. With the last of them the chunk is kept: it is in the store when this returns.

        Raises:
            DataLossError: it has another digest.
            ExhaustedError: there is no room for it.
        """
        self._block.append(piece)
        self._block_bytes += len(piece)
        self.received_bytes += len(piece)
        if self.whole:
            await self._keep()
        elif self._block_bytes >= BLOCK_BYTES or len(self._block) >= BLOCK_PIECES:
            await self._flush()

    async def _keep(self) -> None:
        if self._scratch is None:
            await self._store.put(self.digest, b"".join(self._block))
            return
        await self._flush()
        await self._finish(self._store.keep(self.digest, self._scratch))

    async def _flush(self) -> None:
        block, self._block, self._block_bytes = self._block, [], 0
        await self._finish(asyncio.to_thread(self._write, block))

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for it; it goes on when this is cancelled, since a thread that writes cannot be called back."""
        self._working = asyncio.ensure_future(work)
        await asyncio.shield(self._working)

    def _write(self, block: Sequence[bytes]) -> None:
        if self._scratch is None:
            self._scratch = ScratchFile(self._store.scratch_directory)
        self._scratch.write(block)

    async def close(self) -> None:
        """Forget what is not in the store, when what is under way has ended; that happens even if this is cancelled."""
        closing = asyncio.ensure_future(self._close())
        await asyncio.shield(closing)

    async def _close(self) -> None:
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)
        if self._scratch is not None:
            await asyncio.to_thread(self._scratch.close)
