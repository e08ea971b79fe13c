from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import DataLossError, ExhaustedError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts import scratch
from modelyard_registry.artifacts.store import ChunkStore, sha256
from tests.unit.registry.artifacts.stores import opened

DATA = b"some bytes"
DIGEST = sha256(DATA)


class FullDisk:
    """Room for `left_bytes` more of what comes into files of the scratch directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left_bytes = 0
        self.error = errno.ENOSPC
        create = scratch._new_file
        monkeypatch.setattr(scratch, "_new_file", lambda path: _Limited(create(path), self))


class _Limited:
    def __init__(self, file: Any, disk: FullDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: memoryview) -> int:
        if not self._disk.left_bytes:
            raise OSError(self._disk.error, os.strerror(self._disk.error))
        count: int = self._file.write(data[: self._disk.left_bytes])
        self._disk.left_bytes -= count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


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
async def test_a_full_disk_keeps_nothing(tmp_path: Path, full_disk: FullDisk, error: int, room_bytes: int) -> None:
    store = await opened(tmp_path)
    full_disk.error, full_disk.left_bytes = error, room_bytes
    with pytest.raises(ExhaustedError, match=f"full: {len(DATA)} bytes"):
        await store.put(DIGEST, DATA)
    assert files(tmp_path) == []
    full_disk.left_bytes = 100
    await store.put(DIGEST, DATA)
    assert files(tmp_path) == [f"chunks/{DIGEST[:2]}/{DIGEST}"]


async def test_any_other_error_of_the_disk_stays_what_it_is(tmp_path: Path, full_disk: FullDisk) -> None:
    store = await opened(tmp_path)
    full_disk.error = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        await store.put(DIGEST, DATA)
    assert files(tmp_path) == []


async def test_a_chunk_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        steps.append(f"sync {path.removeprefix(f'{tmp_path}/').partition('/')[0]}")
        sync(descriptor)

    def move(source: str, target: str) -> None:
        steps.append("move")
        replace(source, target)

    store = await opened(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", move)
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


async def file_of(store: ChunkStore, data: bytes) -> scratch.ScratchFile:
    found = scratch.ScratchFile(store.scratch_directory)
    found.write([data[:3], b"", data[3:]])
    return found


async def test_a_chunk_that_was_written_to_a_file_of_ours(store: ChunkStore) -> None:
    found = await file_of(store, DATA)
    await store.keep(DIGEST, found)
    found.close()
    assert await store.get(DIGEST) == DATA
    again = await file_of(store, DATA)
    await store.keep(DIGEST, again)
    again.close()
    assert await store.get(DIGEST) == DATA


async def test_a_file_of_another_digest_is_not_kept(store: ChunkStore, tmp_path: Path) -> None:
    found = await file_of(store, DATA[::-1])
    with pytest.raises(DataLossError, match=f"expected that sha256, got {sha256(DATA[::-1])} for {len(DATA)} bytes"):
        await store.keep(DIGEST, found)
    found.close()
    assert await store.sizes([DIGEST]) == {DIGEST: None}
    assert files(tmp_path) == []


async def test_a_chunk_is_read_in_part(store: ChunkStore) -> None:
    await store.put(DIGEST, DATA)
    with contextlib.closing(await store.open(DIGEST)) as chunk:
        assert chunk.size_bytes == len(DATA)
        assert chunk.read(0, len(DATA)) == DATA
        assert chunk.read(2, 7) == b"me by"
        assert chunk.read(3, 3) == b""


async def test_a_chunk_that_is_being_read_can_be_removed(store: ChunkStore) -> None:
    await store.put(DIGEST, DATA)
    with contextlib.closing(await store.open(DIGEST)) as chunk:
        await store.remove([DIGEST], lambda: None)
        assert chunk.read(0, len(DATA)) == DATA


async def test_what_cannot_be_opened(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(NotFoundError, match=DIGEST):
        await store.open(DIGEST)
    with pytest.raises(InvalidInputError, match="64 hex digits"):
        await store.open("../secret")
    await store.put(DIGEST, DATA)
    (tmp_path / "chunks" / DIGEST[:2] / DIGEST).write_bytes(DATA[::-1])
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DataLossError, match="another sha256"):
        await store.open(DIGEST)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert await store.sizes([DIGEST]) == {DIGEST: None}
    await store.put(DIGEST, DATA)
    (await store.open(DIGEST)).close()
    assert await store.sizes([DIGEST]) == {DIGEST: len(DATA)}
