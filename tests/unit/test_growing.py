from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from modelyard.catalogue import File
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError, UnavailableError
from modelyard.growing import GrowingFile

DATA = bytes(range(256))
CHUNKS = [DATA[at : at + 100] for at in range(0, len(DATA), 100)]
FILE = File("dir/data", len(DATA), tuple(hashlib.sha256(chunk).hexdigest() for chunk in CHUNKS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def grow(path: Path) -> GrowingFile:
    return GrowingFile(path, FILE, 100)


@pytest.fixture
def growing(path: Path) -> Iterator[GrowingFile]:
    with grow(path) as found:
        yield found


async def pieces(*chunks: bytes, size: int = 30, error: Exception | None = None) -> AsyncIterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]
    if error:
        raise error


def indexes(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.index for chunk in chunks]


def test_it_grows_chunk_by_chunk(growing: GrowingFile, path: Path) -> None:
    assert indexes(list(growing.waiting)) == [0, 1, 2]
    assert growing.write([CHUNKS[0][:60]]) == []
    assert indexes(growing.write([CHUNKS[0][60:], CHUNKS[1], CHUNKS[2][:1]])) == [0, 1]
    assert growing.whole_bytes == 200
    assert indexes(growing.write([CHUNKS[2][1:]])) == [2]
    assert not growing.waiting
    growing.sync()
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("left", "whole"),
    [(b"", 0), (DATA[:99], 0), (DATA[:100], 1), (DATA[:255], 2), (DATA, 3), (DATA + b"more", 3), (b"!" * 150, 0)],
)
def test_it_goes_on_after_the_last_whole_chunk(path: Path, left: bytes, whole: int) -> None:
    path.write_bytes(left)
    with grow(path) as growing:
        assert growing.whole_bytes == len(b"".join(CHUNKS[:whole]))
        assert path.stat().st_size == growing.whole_bytes
        growing.write(CHUNKS[whole:])
    assert path.read_bytes() == DATA


def test_another_sha256_is_refused_and_can_be_taken_back(growing: GrowingFile, path: Path) -> None:
    growing.write([CHUNKS[0]])
    with pytest.raises(DataLossError, match=f"^dir/data: expected chunk {FILE.chunks[1]}, got another sha256: "):
        growing.write([CHUNKS[1][::-1]])
    growing.rewind()
    assert path.read_bytes() == CHUNKS[0]
    growing.write(CHUNKS[1:])
    assert path.read_bytes() == DATA


def test_more_than_a_chunk_or_the_file_has(growing: GrowingFile) -> None:
    with pytest.raises(DataLossError, match="got more than its 100 bytes"):
        growing.write([DATA[:101]])
    growing.rewind()
    growing.write(CHUNKS)
    with pytest.raises(DataLossError, match="expected no more bytes, got 1"):
        growing.write([b"!"])


async def test_pieces_are_written_as_they_come(growing: GrowingFile, path: Path) -> None:
    told: list[Chunk] = []
    await growing.receive(pieces(*CHUNKS), told.append)
    assert indexes(told) == [0, 1, 2]
    assert path.read_bytes() == DATA


async def test_what_came_whole_before_a_failure_stays(growing: GrowingFile, path: Path) -> None:
    told: list[Chunk] = []
    with pytest.raises(UnavailableError):
        await growing.receive(pieces(CHUNKS[0], CHUNKS[1][:70], error=UnavailableError("away")), told.append)
    assert indexes(told) == [0]
    assert path.read_bytes() == CHUNKS[0]
    await growing.receive(pieces(*CHUNKS[1:]), told.append)
    assert indexes(told) == [0, 1, 2]
    assert path.read_bytes() == DATA


async def test_pieces_that_end_early_leave_whole_chunks(growing: GrowingFile, path: Path) -> None:
    await growing.receive(pieces(DATA[:100], DATA[100:130]), lambda _: None)
    assert indexes(list(growing.waiting)) == [1, 2]
    assert path.read_bytes() == CHUNKS[0]


@pytest.mark.parametrize("block_bytes", [1, 50, 1000])
async def test_wrong_bytes_end_it_with_what_was_wrong(
    growing: GrowingFile, path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("modelyard.growing.BLOCK_BYTES", block_bytes)
    with pytest.raises(DataLossError, match=f"expected chunk {FILE.chunks[1]}, got another sha256"):
        await growing.receive(pieces(CHUNKS[0], CHUNKS[1][::-1], CHUNKS[2]), lambda _: None)
    assert path.read_bytes() == CHUNKS[0]


async def test_one_who_is_cancelled_while_a_thread_writes(
    growing: GrowingFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = threading.Event(), threading.Event()
    write = GrowingFile.write

    def slow(self: GrowingFile, block: Sequence[bytes]) -> list[Chunk]:
        began.set()
        go.wait()
        return write(self, block)

    monkeypatch.setattr(GrowingFile, "write", slow)
    monkeypatch.setattr("modelyard.growing.BLOCK_BYTES", 1)
    receiving = asyncio.ensure_future(growing.receive(pieces(DATA[:100], DATA[100:160]), lambda _: None))
    await asyncio.to_thread(began.wait)
    receiving.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert path.read_bytes() in {b"", CHUNKS[0]}
