"""Pieces of results in the artifact store, read one after the other: some are held, the next ones fetched meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from modelyard.catalogue import CHUNK_SIZE_BYTES, File
from modelyard.chunks import chunks_of
from modelyard.datasets.chunked import Fetch
from modelyard.jobs.tasks import StoredPiece

AHEAD_BYTES = 16 << 20
"""So many are fetched before they are wanted, where chunks are read in order: pieces may be small, and a fetch long."""
HELD_BYTES = AHEAD_BYTES + 2 * CHUNK_SIZE_BYTES
"""So many are in memory: those, the chunk that is read, and one that goes beyond."""
_MOST_AHEAD = 16


class StoredPieces:
    """The chunks of all pieces, in order. For one thread at a time."""

    def __init__(self, pieces: Sequence[StoredPiece], fetch: Fetch) -> None:
        """`fetch`: begins to fetch a chunk; nothing is fetched yet."""
        self.pieces = tuple(pieces)
        files = [File(f"piece {at}", piece.size_bytes, piece.chunks) for at, piece in enumerate(pieces)]
        self._fetch = fetch
        self._files = files
        self._chunks = [chunk for file in files for chunk in chunks_of(file)]
        self._held: dict[int, Future[bytes]] = {}
        self._last = -2

    def sources(self) -> list[PieceSource]:
        """Each piece."""
        found, first = [], 0
        for file in self._files:
            found.append(PieceSource(file, first, self))
            first += len(file.chunks)
        return found

    def chunk(self, index: int) -> bytes:
        """The bytes of a chunk, counted over all pieces. ModelyardError: it cannot be read."""
        wanted = self._begin(index)
        if index - self._last in {0, 1}:
            for following in self._following(index):
                self._begin(following)
        self._last = index
        self._let_go()
        return wanted.result()

    def rest(self) -> None:
        """Keep no more than the chunk that was read last."""
        self._held = {index: chunk for index, chunk in self._held.items() if index == self._last}

    def _begin(self, index: int) -> Future[bytes]:
        """A chunk that is held, or fetched from now on: the last to be let go."""
        found = self._held.pop(index) if index in self._held else self._fetch(self._chunks[index])
        self._held[index] = found
        return found

    def _following(self, index: int) -> range:
        end, size_bytes = index + 1, 0
        while end < min(index + 1 + _MOST_AHEAD, len(self._chunks)) and size_bytes < AHEAD_BYTES:
            size_bytes += self._chunks[end].size_bytes
            end += 1
        return range(index + 1, end)

    def _let_go(self) -> None:
        size_bytes = sum(self._chunks[index].size_bytes for index in self._held)
        for index in list(self._held):
            if size_bytes <= HELD_BYTES:
                return
            del self._held[index]
            size_bytes -= self._chunks[index].size_bytes


class PieceSource:
    """A piece, as a source."""

    def __init__(self, file: File, first: int, pieces: StoredPieces) -> None:
        """`first`: its first chunk, counted over all pieces."""
        self.name = file.path
        self.size_bytes = file.size_bytes
        self._first = first
        self._pieces = pieces

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        if not length:
            return b""
        first, last = offset // CHUNK_SIZE_BYTES, (offset + length - 1) // CHUNK_SIZE_BYTES
        begin = offset - first * CHUNK_SIZE_BYTES
        data = [self._pieces.chunk(self._first + index) for index in range(first, last + 1)]
        return b"".join(data)[begin : begin + length]
