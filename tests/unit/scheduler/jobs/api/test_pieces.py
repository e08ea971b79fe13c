from __future__ import annotations

import hashlib
from concurrent.futures import Future

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.chunks import Chunk
from modelyard.datasets.source import Source
from modelyard.errors import DataLossError
from modelyard.jobs.tasks import StoredPiece
from modelyard_scheduler.jobs.api import pieces
from modelyard_scheduler.jobs.api.pieces import StoredPieces

SMALL = 1000


class Store:
    """Chunks that are `size` bytes long, fetched at once; `begun`: in which order."""

    def __init__(self) -> None:
        self.chunks: dict[str, bytes] = {}
        self.begun: list[str] = []

    def piece(self, content: bytes) -> StoredPiece:
        parts = [content[at : at + CHUNK_SIZE_BYTES] for at in range(0, len(content), CHUNK_SIZE_BYTES)]
        digests = [hashlib.sha256(part).hexdigest() for part in parts]
        self.chunks.update(zip(digests, parts, strict=True))
        return StoredPiece("", 1, len(content), tuple(digests))

    def fetch(self, chunk: Chunk) -> Future[bytes]:
        self.begun.append(chunk.digest)
        found: Future[bytes] = Future()
        if chunk.digest in self.chunks:
            assert len(self.chunks[chunk.digest]) == chunk.size_bytes
            found.set_result(self.chunks[chunk.digest])
        else:
            found.set_exception(DataLossError("gone"))
        return found


def contents(number: int, size: int = SMALL) -> list[bytes]:
    return [bytes([at % 251]) * size for at in range(number)]


def read_all(sources: list[Source]) -> list[bytes]:
    return [source.read(0, source.size_bytes) for source in sources]


def test_each_piece_has_its_bytes() -> None:
    store = Store()
    wanted = [b"a" * 10, b"", bytes(range(256)) * 40_000, b"z"]
    stored = StoredPieces([store.piece(one) for one in wanted], store.fetch)
    sources = stored.sources()
    assert read_all(list(sources)) == wanted
    large, edge = sources[2], CHUNK_SIZE_BYTES
    for begin, length in ((0, 1), (edge - 1, 2), (edge, 5), (edge - 3, 3), (large.size_bytes - 1, 1), (7, 0)):
        assert large.read(begin, length) == wanted[2][begin : begin + length]


def test_who_reads_on_has_the_next_ones_fetched_meanwhile_and_each_once() -> None:
    store = Store()
    wanted = contents(50)
    sources = StoredPieces([store.piece(one) for one in wanted], store.fetch).sources()
    sources[0].read(0, 1)
    assert len(store.begun) == 1
    sources[0].read(1, 1)
    assert len(store.begun) == 1 + 16
    assert read_all(list(sources)) == wanted
    assert store.begun == [hashlib.sha256(one).hexdigest() for one in wanted]


def test_who_jumps_has_only_that_fetched() -> None:
    store = Store()
    sources = StoredPieces([store.piece(one) for one in contents(50)], store.fetch).sources()
    for at in (30, 10, 40, 2):
        sources[at].read(0, SMALL)
    assert len(store.begun) == 4


def test_only_so_many_bytes_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "AHEAD_BYTES", 4 * SMALL)
    monkeypatch.setattr(pieces, "HELD_BYTES", 6 * SMALL)
    store = Store()
    wanted = contents(40)
    stored = StoredPieces([store.piece(one) for one in wanted], store.fetch)
    for source, expected in zip(stored.sources(), wanted, strict=True):
        assert source.read(0, SMALL) == expected
        assert sum(len(future.result()) for future in stored._held.values()) <= 6 * SMALL
    assert len(store.begun) == 40


def test_a_chunk_that_is_gone_is_said_so() -> None:
    store = Store()
    sources = StoredPieces([store.piece(b"x")], store.fetch).sources()
    store.chunks.clear()
    with pytest.raises(DataLossError, match="gone"):
        sources[0].read(0, 1)
