from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from modelyard.errors import DataLossError, ExhaustedError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.store import ChunkStore, sha256

DATA = b"some bytes"
DIGEST = sha256(DATA)


class FullFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A directory on a disk with room for `left_bytes` more."""

    protocol = "full"
    left_bytes = 0
    error = errno.ENOSPC

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "w" in mode:
            write = file.f.write
            file.f = _Limited(file.f, write, type(self))
        return file


class _Limited:
    def __init__(self, file: Any, write: Any, disk: type[FullFileSystem]) -> None:
        self._file, self._write, self._disk = file, write, disk

    def write(self, data: bytes) -> int:
        room = self._disk.left_bytes
        self._write(data[:room])
        if room < len(data):
            raise OSError(self._disk.error, os.strerror(self._disk.error))
        self._disk.left_bytes -= len(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __exit__(self, *error: object) -> None:
        self._file.close()


@pytest.fixture(autouse=True)
def _full() -> None:
    FullFileSystem.left_bytes, FullFileSystem.error = 0, errno.ENOSPC
    fsspec.register_implementation("full", FullFileSystem, clobber=True)


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://store"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["directory", "file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> ChunkStore:
    url = {"directory": str(tmp_path), "file": f"file://{tmp_path}", "memory": memory}[request.param]
    return await opened(url)


async def opened(url: str | Path, owner: str = "registry-0") -> ChunkStore:
    found = ChunkStore(str(url), owner)
    await found.prepare()
    return found


def files(root: Path) -> list[str]:
    return sorted(f.relative_to(root).as_posix() for f in root.rglob("*") if f.is_file())


async def test_what_is_put_is_there(store: ChunkStore) -> None:
    assert await store.sizes([DIGEST]) == {DIGEST: None}
    await store.put(DIGEST, bytearray(DATA))
    await store.put(DIGEST, DATA)
    assert await store.sizes([DIGEST]) == {DIGEST: len(DATA)}
    assert await store.get(DIGEST) == DATA


async def test_a_wrong_digest_keeps_nothing(store: ChunkStore) -> None:
    other = sha256(b"other")
    with pytest.raises(DataLossError, match=f"{other}.*got {DIGEST} for {len(DATA)} bytes"):
        await store.put(other, DATA)
    assert await store.sizes([DIGEST, other]) == {DIGEST: None, other: None}


async def test_an_unknown_chunk(store: ChunkStore) -> None:
    with pytest.raises(NotFoundError, match=DIGEST):
        await store.get(DIGEST)


@pytest.mark.parametrize("digest", ["", "a", "../../etc/passwd", "A" * 64, DIGEST + "\n", "x" * 1_000_000])
async def test_a_bad_digest(store: ChunkStore, digest: str) -> None:
    for call in (store.get(digest), store.sizes([digest])):
        with pytest.raises(InvalidInputError, match="64 hex digits") as caught:
            await call
        assert len(caught.value.message) < 200


async def test_many_at_once(store: ChunkStore) -> None:
    chunks = {sha256(data): data for data in (str(n).encode() for n in range(100))}
    await asyncio.gather(*(store.put(digest, data) for digest, data in chunks.items()))
    unknown = sha256(b"unknown")
    sizes = await store.sizes([*chunks, unknown, *chunks])
    assert sizes == {digest: len(data) for digest, data in chunks.items()} | {unknown: None}
    assert list(sizes) == [*chunks, unknown]
    assert await store.sizes([]) == {}


async def test_the_same_chunk_from_several_replicas_at_once(tmp_path: Path) -> None:
    replicas = [await opened(tmp_path, f"registry-{n}") for n in range(3)]
    await asyncio.gather(*(replica.put(DIGEST, DATA) for replica in replicas * 10))
    assert files(tmp_path) == [f"chunks/{DIGEST[:2]}/{DIGEST}"]
    assert await replicas[0].get(DIGEST) == DATA


async def test_a_chunk_damaged_on_disk(tmp_path: Path) -> None:
    store, replica = await opened(tmp_path), await opened(tmp_path, "registry-1")
    await store.put(DIGEST, DATA)
    path = tmp_path / "chunks" / DIGEST[:2] / DIGEST
    path.write_bytes(b"some bytez")
    for _ in range(2):
        with pytest.raises(DataLossError, match=DIGEST):
            await store.get(DIGEST)
    assert path.exists()
    assert await store.sizes([DIGEST]) == {DIGEST: None}
    await store.put(DIGEST, DATA)
    assert await store.get(DIGEST) == DATA
    assert await store.sizes([DIGEST]) == await replica.sizes([DIGEST]) == {DIGEST: len(DATA)}


async def test_a_chunk_that_another_replica_has_mended(tmp_path: Path) -> None:
    store, replica = await opened(tmp_path), await opened(tmp_path, "registry-1")
    path = tmp_path / "chunks" / DIGEST[:2] / DIGEST
    path.write_bytes(DATA[:5])
    with pytest.raises(DataLossError):
        await store.get(DIGEST)
    await replica.put(DIGEST, DATA)
    assert await store.get(DIGEST) == DATA
    assert await store.sizes([DIGEST]) == {DIGEST: len(DATA)}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("room_bytes", [0, 5])
async def test_a_full_disk_keeps_nothing(tmp_path: Path, error: int, room_bytes: int) -> None:
    store = await opened(f"full://{tmp_path}")
    FullFileSystem.error, FullFileSystem.left_bytes = error, room_bytes
    with pytest.raises(ExhaustedError, match=f"full: {len(DATA)} bytes"):
        await store.put(DIGEST, DATA)
    assert files(tmp_path) == []
    FullFileSystem.left_bytes = 100
    await store.put(DIGEST, DATA)
    assert files(tmp_path) == [f"chunks/{DIGEST[:2]}/{DIGEST}"]


async def test_any_other_error_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    store = await opened(f"full://{tmp_path}")
    FullFileSystem.error = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await store.put(DIGEST, DATA)
    assert files(tmp_path) == []


async def test_a_chunk_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, move = os.fsync, LocalFileSystem.mv

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        steps.append(f"sync {path.removeprefix(f'{tmp_path}/').partition('/')[0]}")
        sync(descriptor)

    def mv(self: LocalFileSystem, source: str, target: str, **options: Any) -> None:
        steps.append("move")
        move(self, source, target, **options)

    store = await opened(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(LocalFileSystem, "mv", mv)
    await store.put(DIGEST, DATA)
    assert steps == ["sync scratch", "move", "sync chunks"]


async def test_what_a_killed_registry_left_goes_at_its_next_start(tmp_path: Path) -> None:
    mine, others = tmp_path / "scratch/registry-0/half", tmp_path / "scratch/registry-1/half"
    for path in (mine, others):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    store = await opened(tmp_path)
    assert files(tmp_path) == ["scratch/registry-1/half"]
    assert store.scratch_directory == str(mine.parent)


async def test_scratch_of_a_remote_store_is_not_local(memory: str) -> None:
    assert (await opened(memory)).scratch_directory is None


async def test_an_owner_is_a_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        ChunkStore(str(tmp_path), "../../etc")


async def test_a_store_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OSError, match="directory"):
        await opened(tmp_path / "file" / "store")
