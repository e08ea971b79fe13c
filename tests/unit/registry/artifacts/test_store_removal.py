from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from modelyard.errors import AbortedError, InvalidInputError
from modelyard_registry.artifacts.store import DIRECTORIES, ChunkStore, sha256
from tests.unit.registry.artifacts.stores import opened

DATA = b"some bytes"
DIGEST = sha256(DATA)


async def put_many(store: ChunkStore, count: int = 40) -> dict[str, bytes]:
    chunks = {sha256(data): data for data in (str(n).encode() for n in range(count))}
    for digest, data in chunks.items():
        await store.put(digest, data)
    return chunks


async def listed(store: ChunkStore) -> dict[str, int]:
    return {digest: size for first in DIRECTORIES for digest, size in await store.chunks(first)}


async def test_chunks_are_listed_a_directory_at_a_time(store: ChunkStore) -> None:
    assert await listed(store) == {}
    chunks = await put_many(store)
    assert await listed(store) == {digest: len(data) for digest, data in chunks.items()}
    for first in DIRECTORIES:
        assert all(digest.startswith(first) for digest, _ in await store.chunks(first))


async def test_what_is_no_chunk_is_not_listed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    (tmp_path / "chunks/00/readme").write_text("not a chunk")
    (tmp_path / "chunks/00" / ("0" * 63)).write_text("nor this")
    assert await store.chunks("00") == []


async def test_removing(store: ChunkStore) -> None:
    chunks = await put_many(store)
    gone, checks = list(chunks)[:15], []
    assert await store.remove(gone, lambda: checks.append(1)) == gone
    assert len(checks) == len(gone)
    assert await listed(store) == {digest: len(chunks[digest]) for digest in list(chunks)[15:]}
    assert set((await store.sizes(gone)).values()) == {None}
    await store.put(gone[0], chunks[gone[0]])
    assert await store.get(gone[0]) == chunks[gone[0]]


async def test_removing_ends_at_a_check(store: ChunkStore) -> None:
    chunks = await put_many(store)
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) > 5:
            raise AbortedError("it is over")

    with pytest.raises(AbortedError):
        await store.remove(list(chunks), check)
    assert sorted(await listed(store)) == sorted(list(chunks)[5:])


async def test_what_is_gone_already_does_not_count_as_removed(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put(DIGEST, DATA)
    assert await store.remove([sha256(b"other"), DIGEST, DIGEST], lambda: None) == [DIGEST]


async def test_only_chunks_can_be_removed(store: ChunkStore) -> None:
    with pytest.raises(InvalidInputError, match="64 hex digits"):
        await store.remove(["../../etc/passwd"], lambda: None)


async def test_a_removal_that_is_cancelled_comes_to_its_end_first(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chunks = await put_many(store, 3)
    begun, go_on = threading.Event(), threading.Event()

    def check() -> None:
        begun.set()
        assert go_on.wait(30)

    removal = asyncio.ensure_future(store.remove(list(chunks), check))
    await asyncio.to_thread(begun.wait)
    removal.cancel()
    ended, _ = await asyncio.wait([removal], timeout=0.05)
    assert not ended
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await removal
    assert await listed(store) == {}
