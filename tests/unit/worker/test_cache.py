"""The artifact cache over a source in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.errors import DataLossError, NotFoundError, UnavailableError
from modelyard_worker.cache import ArtifactCache
from tests.waiting import eventually

DIGEST = "m" * 64


class MemorySource:
    """One artifact; `tampered` chunks arrive with other bytes, `fails_at` breaks off before a piece."""

    def __init__(self, files: dict[str, list[bytes]]) -> None:
        self.chunks = {hashlib.sha256(c).hexdigest(): c for chunks in files.values() for c in chunks}
        self.files = tuple(
            File(path, sum(map(len, chunks)), tuple(hashlib.sha256(c).hexdigest() for c in chunks))
            for path, chunks in files.items()
        )
        self.asked: Counter[str] = Counter()
        self.tampered: set[str] = set()
        self.fails_at = -1
        self.go = asyncio.Event()
        self.go.set()

    async def manifest(self, digest: str) -> Manifest:
        self.asked["manifest"] += 1
        if digest != DIGEST:
            raise NotFoundError(f"manifest {digest}: not here")
        await self.go.wait()
        return Manifest(self.files)

    async def pieces(self, digest: str) -> AsyncIterator[bytes]:
        self.asked[digest] += 1
        data = self.chunks[digest] + (b"!" if digest in self.tampered else b"")
        for index, start in enumerate(range(0, len(data), 3)):
            if index == self.fails_at:
                raise UnavailableError("the registry went away")
            yield data[start : start + 3]


@pytest.fixture
def source() -> MemorySource:
    return MemorySource({"model.onnx": [b"first chunk", b"second"], "data/weights.bin": [b"w" * 100], "empty": []})


@pytest.fixture
def cache(source: MemorySource, tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "artifacts", source)


async def test_files_are_put_together_from_their_chunks(cache: ArtifactCache, tmp_path: Path) -> None:
    place = await cache.path(DIGEST)
    assert place == tmp_path / "artifacts" / DIGEST
    assert (place / "model.onnx").read_bytes() == b"first chunksecond"
    assert (place / "data" / "weights.bin").read_bytes() == b"w" * 100
    assert (place / "empty").read_bytes() == b""


async def test_an_artifact_is_pulled_once_however_many_ask(cache: ArtifactCache, source: MemorySource) -> None:
    source.go.clear()
    asking = [asyncio.ensure_future(cache.path(DIGEST)) for _ in range(10)]
    await asyncio.sleep(0)
    source.go.set()
    assert len(set(await asyncio.gather(*asking))) == 1
    await cache.path(DIGEST)
    assert set(source.asked.values()) == {1}


async def test_a_wrong_digest_leaves_nothing_and_can_be_tried_again(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    bad = source.files[1].chunks[0]
    source.tampered = {bad}
    with pytest.raises(DataLossError, match=f"data/weights.bin: expected chunk {bad}, got "):
        await cache.path(DIGEST)
    assert list((tmp_path / "artifacts").iterdir()) == []
    source.tampered = set()
    assert (await cache.path(DIGEST)).is_dir()


async def test_a_pull_that_breaks_off_leaves_nothing(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    source.fails_at = 2
    with pytest.raises(UnavailableError):
        await cache.path(DIGEST)
    assert list((tmp_path / "artifacts").iterdir()) == []


async def test_one_who_is_cancelled_while_it_pulls_leaves_nothing_and_another_pulls(
    cache: ArtifactCache, source: MemorySource, tmp_path: Path
) -> None:
    source.go.clear()
    first, second = (asyncio.ensure_future(cache.path(DIGEST)) for _ in range(2))
    await eventually(lambda: source.asked["manifest"])
    first.cancel()
    source.go.set()
    assert (await second).is_dir()
    assert [p.name for p in (tmp_path / "artifacts").iterdir()] == [DIGEST]


async def test_what_an_earlier_process_left_half_pulled_is_removed(cache: ArtifactCache, tmp_path: Path) -> None:
    whole = await cache.path(DIGEST)
    half = tmp_path / "artifacts" / ".pull-abc"
    (half / "deep").mkdir(parents=True)
    (half / "deep" / "file").write_bytes(b"x")
    cache.clean()
    assert not half.exists()
    assert whole.is_dir()


async def test_cleaning_before_the_first_pull_is_no_error(cache: ArtifactCache) -> None:
    cache.clean()


async def test_another_process_of_this_worker_finds_what_is_there(source: MemorySource, tmp_path: Path) -> None:
    await ArtifactCache(tmp_path, source).path(DIGEST)
    await ArtifactCache(tmp_path, source).path(DIGEST)
    assert source.asked["manifest"] == 1


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/tmp/outside"])
async def test_a_path_that_leads_out_of_the_artifact_is_refused(path: str, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "deep" / "artifacts", MemorySource({path: [b"x"]}))
    with pytest.raises(DataLossError, match="expected a path inside the artifact"):
        await cache.path(DIGEST)
    assert not list(tmp_path.rglob("outside"))


async def test_a_directory_that_cannot_be_written_is_an_os_error(source: MemorySource, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_bytes(b"in the way")
    with pytest.raises(OSError, match="artifacts"):
        await ArtifactCache(tmp_path / "artifacts", source).path(DIGEST)
