from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.artifacts.intake import Intake
from modelyard_registry.artifacts.store import ChunkStore, sha256

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
