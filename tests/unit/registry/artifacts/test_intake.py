from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.artifacts.incoming import BLOCK_BYTES
from modelyard_registry.artifacts.intake import Intake
from modelyard_registry.artifacts.scratch import ScratchFile
from modelyard_registry.artifacts.store import ChunkStore, sha256
from tests.waiting import eventually

FIRST, SECOND = b"the first chunk", b"another"


@pytest.fixture
async def store(tmp_path: Path) -> ChunkStore:
    found = ChunkStore(str(tmp_path), "registry-0")
    await found.prepare()
    return found


@pytest.fixture
def intake(store: ChunkStore) -> Intake:
    return Intake(store)


async def test_chunks_in_pieces_of_any_size(intake: Intake, store: ChunkStore) -> None:
    for chunk, size in ((FIRST, 1), (SECOND, 100)):
        intake.begin(sha256(chunk), len(chunk))
        for start in range(0, len(chunk), size):
            await intake.add(chunk[start : start + size])
    intake.end()
    assert (intake.chunks, intake.size_bytes) == (2, len(FIRST) + len(SECOND))
    assert await store.get(sha256(FIRST)) == FIRST
    assert await store.get(sha256(SECOND)) == SECOND


async def test_nothing_at_all(intake: Intake) -> None:
    intake.end()
    assert (intake.chunks, intake.size_bytes) == (0, 0)


async def test_data_without_a_header(intake: Intake) -> None:
    with pytest.raises(InvalidInputError, match="header before data"):
        await intake.add(FIRST)
    intake.begin(sha256(FIRST), len(FIRST))
    await intake.add(FIRST)
    with pytest.raises(InvalidInputError, match="header before data"):
        await intake.add(b"more")


async def test_more_than_announced(intake: Intake, store: ChunkStore) -> None:
    intake.begin(sha256(FIRST), len(FIRST))
    await intake.add(FIRST[:-1])
    with pytest.raises(DataLossError, match=f"expected {len(FIRST)} bytes, got more"):
        await intake.add(FIRST[-1:] + b"!")
    assert await store.sizes([sha256(FIRST)]) == {sha256(FIRST): None}


async def test_less_than_announced(intake: Intake, store: ChunkStore) -> None:
    intake.begin(sha256(FIRST), len(FIRST))
    await intake.add(FIRST[:4])
    for cut in (intake.end, lambda: intake.begin(sha256(SECOND), len(SECOND))):
        with pytest.raises(DataLossError, match=f"expected {len(FIRST)} bytes, the upload ended after 4"):
            cut()
    assert intake.chunks == 0
    assert await store.sizes([sha256(FIRST)]) == {sha256(FIRST): None}


async def test_what_came_whole_stays(intake: Intake, store: ChunkStore) -> None:
    intake.begin(sha256(FIRST), len(FIRST))
    await intake.add(FIRST)
    intake.begin(sha256(SECOND), len(SECOND))
    with pytest.raises(DataLossError, match="expected that sha256"):
        await intake.add(SECOND[::-1])
    assert await store.sizes([sha256(FIRST), sha256(SECOND)]) == {sha256(FIRST): len(FIRST), sha256(SECOND): None}


@pytest.mark.parametrize("size_bytes", [0, -1, CHUNK_SIZE_BYTES + 1, 1 << 62])
async def test_a_size_that_no_chunk_has(intake: Intake, size_bytes: int) -> None:
    with pytest.raises(InvalidInputError, match=f"expected 1 to {CHUNK_SIZE_BYTES} bytes, got {size_bytes}"):
        intake.begin(sha256(FIRST), size_bytes)


async def test_a_bad_digest(intake: Intake) -> None:
    with pytest.raises(InvalidInputError, match="64 hex digits"):
        intake.begin("../secret", 1)


LARGE = random.Random(1).randbytes(3 * BLOCK_BYTES + 5)


def unfinished(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "scratch/registry-0").iterdir())


@pytest.mark.parametrize("piece_bytes", [BLOCK_BYTES // 2, BLOCK_BYTES, 3 * BLOCK_BYTES, 100_000, len(LARGE)])
async def test_a_chunk_of_many_blocks(intake: Intake, store: ChunkStore, tmp_path: Path, piece_bytes: int) -> None:
    intake.begin(sha256(LARGE), len(LARGE))
    for start in range(0, len(LARGE), piece_bytes):
        assert not intake.between
        await intake.add(LARGE[start : start + piece_bytes])
    assert intake.between
    intake.end()
    assert await store.get(sha256(LARGE)) == LARGE
    assert unfinished(tmp_path) == []


async def test_what_has_come_waits_on_the_disk(intake: Intake, store: ChunkStore, tmp_path: Path) -> None:
    intake.begin(sha256(LARGE), len(LARGE))
    await intake.add(LARGE[: 2 * BLOCK_BYTES])
    assert [f.stat().st_size for f in unfinished(tmp_path)] == [2 * BLOCK_BYTES]
    await intake.close()
    assert unfinished(tmp_path) == []
    assert await store.sizes([sha256(LARGE)]) == {sha256(LARGE): None}


async def test_pieces_of_a_few_bytes(intake: Intake, store: ChunkStore) -> None:
    data = LARGE[:1000]
    intake.begin(sha256(data), len(data))
    for start in range(0, len(data), 3):
        await intake.add(data[start : start + 3])
    assert await store.get(sha256(data)) == data


async def test_another_digest_after_many_blocks(intake: Intake, store: ChunkStore, tmp_path: Path) -> None:
    intake.begin(sha256(LARGE), len(LARGE))
    await intake.add(LARGE[1:])
    with pytest.raises(DataLossError, match="expected that sha256"):
        await intake.add(LARGE[:1])
    await intake.close()
    assert unfinished(tmp_path) == []
    assert await store.sizes([sha256(LARGE)]) == {sha256(LARGE): None}


async def test_one_who_is_cancelled_leaves_nothing(
    intake: Intake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = threading.Event(), threading.Event()
    write = ScratchFile.write

    def slow(self: ScratchFile, block: Sequence[bytes]) -> None:
        began.set()
        go.wait()
        write(self, block)

    monkeypatch.setattr(ScratchFile, "write", slow)
    intake.begin(sha256(LARGE), len(LARGE))
    adding = asyncio.ensure_future(intake.add(LARGE[: 2 * BLOCK_BYTES]))
    await asyncio.to_thread(began.wait)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    closing = asyncio.ensure_future(intake.close())
    await asyncio.sleep(0)
    assert not closing.done()
    closing.cancel()  # gRPC cancels a handler a second time while it cleans up
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await eventually(lambda: not unfinished(tmp_path))
