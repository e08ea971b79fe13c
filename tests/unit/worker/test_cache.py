"""The artifact cache over a source in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard_worker.cache import ArtifactCache
from tests.waiting import eventually

DIGEST = "m" * 64
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


def check_files(place: Path) -> None:
    found = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    assert found == {"model.onnx": MODEL, "data/weights.bin": WEIGHTS, "empty": b""}


async def test_files_are_put_together_from_their_chunks(cache: ArtifactCache, tmp_path: Path) -> None:
    place = await cache.path(DIGEST)
    assert place == tmp_path / "artifacts" / DIGEST
    check_files(place)
    assert [p.name for p in (tmp_path / "artifacts").iterdir()] == [DIGEST]


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
    assert [p.name for p in tmp_path.iterdir()] == [DIGEST]


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
    assert [p.name for p in (tmp_path / "artifacts").iterdir()] == [DIGEST]


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
