"""Puts the pieces of an upload together, a chunk at a time."""

from __future__ import annotations

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.artifacts.incoming import Incoming
from modelyard_registry.artifacts.store import ChunkStore, check_digest


class Intake:
    """One upload: `begin`, the pieces, and so on for each chunk, then `end`; `close` whatever happened.

    Each chunk is kept as soon as its last byte is here; what follows can fail without harm to it. Not more than a
    block of it is in memory.
    """

    def __init__(self, store: ChunkStore) -> None:
        self.chunks = 0
        self.size_bytes = 0
        self._store = store
        self._incoming: Incoming | None = None

    @property
    def between(self) -> bool:
        """Whether no chunk is under way."""
        return self._incoming is None

    def begin(self, digest: str, size_bytes: int) -> None:
        """Announce a chunk.

        Raises:
            InvalidInputError: the digest is malformed, or the size is not that of a chunk.
            DataLossError: the chunk before has not come whole.
        """
        self.end()
        check_digest(digest)
        if not 0 < size_bytes <= CHUNK_SIZE_BYTES:
            raise InvalidInputError(f"chunk {digest}: expected 1 to {CHUNK_SIZE_BYTES} bytes, got {size_bytes}")
        self._incoming = Incoming(self._store, digest, size_bytes)

    async def add(self, piece: bytes) -> None:
        """Take the next bytes of the chunk announced.

        Raises:
            InvalidInputError: none is announced.
            DataLossError: it has more bytes than announced, or another digest.
            ExhaustedError: the store is full.
        """
        incoming = self._incoming
        if incoming is None:
            raise InvalidInputError("upload: expected a header before data")
        if incoming.received_bytes + len(piece) > incoming.size_bytes:
            raise DataLossError(f"chunk {incoming.digest}: expected {incoming.size_bytes} bytes, got more")
        await incoming.add(piece)
        if incoming.whole:
            self.chunks += 1
            self.size_bytes += incoming.size_bytes
            await self.close()

    def end(self) -> None:
        """Raise DataLossError if the last chunk has not come whole."""
        if self._incoming is not None:
            raise DataLossError(
                f"chunk {self._incoming.digest}: expected {self._incoming.size_bytes} bytes, "
                f"the upload ended after {self._incoming.received_bytes}"
            )

    async def close(self) -> None:
        """Forget what has come of a chunk that is not whole."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            await incoming.close()
