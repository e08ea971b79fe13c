"""The artifact cache over a source in memory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk, count_whole_chunks
from modelyard.errors import DataLossError, ExhaustedError, NotFoundError, UnavailableError
from modelyard.growing import GrowingFile
from modelyard_worker.cache import ArtifactCache
from tests.waiting import eventually

DIGEST = "m" * 64
WHOLE = [f".sizes-{DIGEST}", DIGEST]
MODEL, WEIGHTS = bytes(range(120)), random.Random(1).randbytes(530)


class MemorySource:
    """One artifact in chunks of 100 bytes; `tampered` chunks arrive with other bytes, `fails_at` breaks off before a
    piece, counted over all chunks.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        split = {path: [data[at : at + 100] for at in range(0, len(data), 100)] for path, data in files.items()}
        self.chunks = {hashlib.sha256(c).hexdigest(): c for chunks in split.values() for c in chunks}
        self.files = tuple(
            File(path, len(files[path]), tuple(hashlib.sha256(c).hexdigest() for c in chunks))
            for path, chunks in split.items()
        )
        self.asked: Counter[str] = Counter()
        self.tampered: set[str] = set()
        self.more = b""
        self.fails_at = -1
        self.go = asyncio.Event()
        self.go.set()

    async def manifest(self, digest: str) -> Manifest:
        self.asked["manifest"] += 1
        if digest != DIGEST:
            raise NotFoundError(f"manifest {digest}: not here")
        await self.go.wait()
        return Manifest(self.files, chunk_size_bytes=100)

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            self.asked[chunk.digest] += 1
            data = self.chunks[chunk.digest]
            data = (data[::-1] if chunk.digest in self.tampered else data) + self.more
            for start in range(0, len(data), 30):
                self.fails_at -= 1
                if self.fails_at == -1:
                    raise UnavailableError("the registry went away")
                yield data[start : start + 30]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({"model.onnx": MODEL, "data/weights.bin": WEIGHTS, "empty": b""})


@pytest.fixture
def cache(source: MemorySource, tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "artifacts", source)


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def check_files(place: Path) -> None:
    found = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    assert found == {"model.onnx": MODEL, "data/weights.bin": WEIGHTS, "empty": b""}


async def test_files_are_put_together_from_their_chunks(cache: ArtifactCache, tmp_path: Path) -> None:
    place = await cache.path(DIGEST)
    assert place == tmp_path / "artifacts" / DIGEST
    check_files(place)
    assert names(tmp_path / "artifacts") == WHOLE


async def test_an_artifact_is_pulled_once_however_many_ask(cache: ArtifactCache, source: MemorySource) -> None:
    source.go.clear()
    asking = [asyncio.ensure_future(cache.path(DIGEST)) for _ in range(10)]
    await asyncio.sleep(0)
    source.go.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    await cache.path(DIGEST)
    assert set(source.asked.values()) == {1}


async def test_a_wrong_digest_is_refused_and_can_be_tried_again(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    bad = source.files[1].chunks[2]
    source.tampered = {bad}
    for _ in range(2):
        with pytest.raises(DataLossError, match=f"data/weights.bin: expected chunk {bad}, got another sha256"):
            await cache.path(DIGEST)
        assert not (tmp_path / "artifacts" / DIGEST).exists()
    source.tampered = set()
    check_files(await cache.path(DIGEST))
    assert {source.asked[digest] for digest in source.files[1].chunks[:2]} == {1}


async def test_a_chunk_that_is_too_long_is_refused(cache: ArtifactCache, source: MemorySource) -> None:
    source.more = b"!"
    with pytest.raises(DataLossError, match=r"model.onnx: expected chunk \w{64}, got more than its 100 bytes"):
        await cache.path(DIGEST)


@pytest.mark.parametrize("fails_at", range(25))
async def test_a_pull_that_breaks_off_goes_on_where_it_was(source: MemorySource, tmp_path: Path, fails_at: int) -> None:
    source.fails_at = fails_at
    with pytest.raises(UnavailableError):
        await ArtifactCache(tmp_path, source).path(DIGEST)
    assert not (tmp_path / DIGEST).exists()
    before = sum(map(source.asked.__getitem__, source.chunks))
    cache = ArtifactCache(tmp_path, source)  # of a worker that was started anew
    cache.clean()
    check_files(await cache.path(DIGEST))
    # The chunk in which it broke off is asked for again, and no other.
    assert sum(map(source.asked.__getitem__, source.chunks)) - before <= len(source.chunks) - before + 1
    assert names(tmp_path) == WHOLE


async def test_what_was_damaged_meanwhile_is_pulled_again(source: MemorySource, tmp_path: Path) -> None:
    source.fails_at = 20
    with pytest.raises(UnavailableError):
        await ArtifactCache(tmp_path, source).path(DIGEST)
    model, weights = (tmp_path / f".pull-{DIGEST}" / name for name in ("model.onnx", "data/weights.bin"))
    model.write_bytes(MODEL + b"more")
    weights.write_bytes(WEIGHTS[:150] + b"!" + WEIGHTS[151:300])
    check_files(await ArtifactCache(tmp_path, source).path(DIGEST))
    assert [source.asked[digest] for digest in source.files[1].chunks[:2]] == [1, 2]


async def test_one_who_is_cancelled_while_it_pulls_leaves_it_to_another(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    source.go.clear()
    first, second = (asyncio.ensure_future(cache.path(DIGEST)) for _ in range(2))
    await eventually(lambda: source.asked["manifest"])
    first.cancel()
    source.go.set()
    check_files(await second)
    assert names(tmp_path / "artifacts") == WHOLE


async def test_a_pull_that_is_cancelled_has_ended_before_the_next_begins(
    cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread looks at what is there, and cannot be called back."""
    go, looking, most = threading.Event(), Counter[Path](), Counter[Path]()

    def slow(path: Path, file: File, chunk_size_bytes: int) -> int:
        looking[path] += 1
        most[path] = max(most[path], looking[path])
        assert go.wait(30)
        found = count_whole_chunks(path, file, chunk_size_bytes)
        looking[path] -= 1
        return found

    monkeypatch.setattr("modelyard.growing.count_whole_chunks", slow)
    first = asyncio.ensure_future(cache.path(DIGEST))
    await eventually(lambda: looking)
    first.cancel()
    second = asyncio.ensure_future(cache.path(DIGEST))
    for _ in range(20):  # by then the second is as far as the first
        await asyncio.to_thread(lambda: None)
    go.set()
    check_files(await second)
    assert set(most.values()) == {1}
    assert first.cancelled()


async def test_what_is_pulled_leaves_nothing_in_memory(cache: ArtifactCache) -> None:
    await asyncio.gather(cache.path(DIGEST), cache.path(DIGEST))
    with pytest.raises(NotFoundError):
        await cache.path("absent")
    assert (len(cache._pulls), cache._coming, cache._held) == (0, {}, {})


async def test_what_was_half_pulled_long_ago_is_removed(cache: ArtifactCache, tmp_path: Path) -> None:
    whole = await cache.path(DIGEST)
    old, new = tmp_path / "artifacts" / ".pull-abc", tmp_path / "artifacts" / ".pull-def"
    for half in (old, new):
        (half / "deep").mkdir(parents=True)
        (half / "deep" / "file").write_bytes(b"x")
    for kept in (old, whole):
        os.utime(kept, (0, 0))
    cache.clean()
    assert [old.exists(), new.exists(), whole.exists()] == [False, True, True]


@pytest.mark.parametrize("file", ["model.onnx", "data/weights.bin"])
async def test_a_file_of_another_size_is_mended_when_it_is_used_again(
    cache: ArtifactCache, source: MemorySource, file: str
) -> None:
    place = await cache.path(DIGEST)
    os.truncate(place / file, 110)
    check_files(await cache.path(DIGEST))
    assert source.asked["manifest"] == 2
    whole = next(f for f in source.files if f.path == file).chunks[0]
    assert source.asked[whole] == 1  # its first 100 bytes were still there


async def test_a_file_that_is_gone_is_pulled_again(cache: ArtifactCache) -> None:
    place = await cache.path(DIGEST)
    (place / "empty").unlink()
    check_files(await cache.path(DIGEST))


@pytest.mark.parametrize("sizes", [b"", b"no json", b'{"model.onnx": "large"}'])
async def test_sizes_that_cannot_be_read_are_written_anew(cache: ArtifactCache, tmp_path: Path, sizes: bytes) -> None:
    await cache.path(DIGEST)
    (tmp_path / "artifacts" / WHOLE[0]).write_bytes(sizes)
    (tmp_path / "artifacts" / f".pull-{DIGEST}").mkdir()  # something that an earlier process left
    check_files(await cache.path(DIGEST))
    assert names(tmp_path / "artifacts") == WHOLE


async def test_what_an_earlier_release_pulled_is_taken_as_it_is(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    await cache.path(DIGEST)
    (tmp_path / "artifacts" / WHOLE[0]).unlink()
    check_files(await cache.path(DIGEST))
    assert source.asked["manifest"] == 1


async def test_a_disk_without_room_is_said_before_anything_is_pulled(
    cache: ArtifactCache, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=649))
    with pytest.raises(ExhaustedError, match=r"the disk of .* is full: expected 650 B free, found 649 B"):
        await cache.path(DIGEST)
    assert set(source.asked) == {"manifest"}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=650))
    check_files(await cache.path(DIGEST))


async def test_a_disk_that_fills_up_during_a_pull_is_said_and_the_pull_goes_on_later(
    cache: ArtifactCache, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = GrowingFile._write, iter([None] * 3)

    def full(self: GrowingFile, data: memoryview) -> None:
        if next(left, data) is data:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(GrowingFile, "_write", full)
    with pytest.raises(ExhaustedError, match=r"the disk of .* is full: .*No space left on device"):
        await cache.path(DIGEST)
    monkeypatch.setattr(GrowingFile, "_write", write)
    check_files(await cache.path(DIGEST))


async def test_cleaning_before_the_first_pull_is_no_error(cache: ArtifactCache) -> None:
    cache.clean()


async def test_another_process_of_this_worker_finds_what_is_there(source: MemorySource, tmp_path: Path) -> None:
    await ArtifactCache(tmp_path, source).path(DIGEST)
    await ArtifactCache(tmp_path, source).path(DIGEST)
    assert source.asked["manifest"] == 1


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/tmp/outside"])
async def test_a_path_that_leads_out_of_the_artifact_is_refused(path: str, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "deep" / "artifacts", MemorySource({path: b"x"}))
    with pytest.raises(DataLossError, match="expected a path inside the artifact"):
        await cache.path(DIGEST)
    assert not list(tmp_path.rglob("outside"))


async def test_a_directory_that_cannot_be_written_is_an_os_error(source: MemorySource, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_bytes(b"in the way")
    with pytest.raises(OSError, match="artifacts"):
        await ArtifactCache(tmp_path / "artifacts", source).path(DIGEST)
