"""Puts the pieces of an upload together, a chunk at a time."""

from __future__ import annotations

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.artifacts.store import ChunkStore, check_digest


class Intake:
    """One upload: `begin`, the pieces, and so on for each chunk, then `end`. It holds at most one chunk in memory.

    Each chunk is kept as soon as its last byte is here; what follows can fail without harm to it.
    """

    def __init__(self, store: ChunkStore) -> None:
        self.chunks = 0
        self.size_bytes = 0
        self._store = store
        self._digest = ""
        self._expected_bytes = 0
        self._data = bytearray()

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
        self._digest, self._expected_bytes = digest, size_bytes

    async def add(self, piece: bytes) -> None:
        """Take the next bytes of the chunk announced.

        Raises:
            InvalidInputError: none is announced.
            DataLossError: it has more bytes than announced, or another digest.
            ExhaustedError: the store is full.
        """
        if not self._digest:
            raise InvalidInputError("upload: expected a header before data")
        if len(self._data) + len(piece) > self._expected_bytes:
            raise DataLossError(f"chunk {self._digest}: expected {self._expected_bytes} bytes, got more")
        self._data += piece
        if len(self._data) == self._expected_bytes:
            await self._store.put(self._digest, self._data)
            self.chunks += 1
            self.size_bytes += len(self._data)
            self._digest, self._data = "", bytearray()

    def end(self) -> None:
        """Raise DataLossError if the last chunk has not come whole."""
        if self._digest:
            raise DataLossError(
                f"chunk {self._digest}: expected {self._expected_bytes} bytes, the upload ended after {len(self._data)}"
            )
