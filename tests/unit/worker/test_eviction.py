"""What goes from the artifact cache when room is needed, and what never does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk
from modelyard.errors import ExhaustedError
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.storage import GONE
from tests.waiting import eventually

SIZE = 100


class Source:
    """Artifacts of one file of 100 bytes each, whatever their digest; `go` lets a pull go on."""

    def __init__(self) -> None:
        self.pulls: list[str] = []
        self.go = asyncio.Event()
        self.go.set()

    async def manifest(self, digest: str) -> Manifest:
        self.pulls.append(digest)
        data = digest.encode().ljust(SIZE)
        return Manifest((File("model.onnx", SIZE, (hashlib.sha256(data).hexdigest(),)),))

    async def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        await self.go.wait()
        for _ in chunks:
            yield self.pulls[-1].encode().ljust(SIZE)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(source: Source, tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path, source, limit_bytes=3 * SIZE)


async def use(cache: ArtifactCache, *digests: str) -> None:
    """Use artifacts one after the other, in an order that a coarse clock can tell."""
    for digest in digests:
        place = await cache.path(digest)
        use_s = 1_000.0 + len(used)
        used.append(digest)
        os.utime(place, (use_s, use_s))


used: list[str] = []


def held(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if p.is_dir())


async def test_what_was_not_used_for_longest_goes(cache: ArtifactCache, tmp_path: Path) -> None:
    await use(cache, "a", "b", "c", "a", "d")
    assert held(tmp_path) == ["a", "c", "d"]
    assert {p.name for p in tmp_path.iterdir()} == {n for d in "acd" for n in (d, f".sizes-{d}")}
    await use(cache, "b")
    assert held(tmp_path) == ["a", "b", "d"]


async def test_what_is_in_use_stays_however_old_and_however_much(
    cache: ArtifactCache, source: Source, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for digest in "abcde":
            stack.enter_context(cache.held(digest))
            await use(cache, digest)
        assert held(tmp_path) == list("abcde")
        await cache.trim()
        assert held(tmp_path) == list("abcde")
        with cache.held("a"):
            pass  # another user of it goes, the first one stays
        await cache.trim()
    await cache.trim()
    assert held(tmp_path) == list("cde")
    assert source.pulls == list("abcde")


async def test_what_is_being_pulled_stays(cache: ArtifactCache, source: Source, tmp_path: Path) -> None:
    await use(cache, "a", "b")
    source.go.clear()
    pulling = asyncio.ensure_future(cache.path("c"))
    await eventually((tmp_path / ".pull-c" / "model.onnx").exists)
    os.utime(tmp_path / ".pull-c", (0, 0))
    await cache.trim()
    assert held(tmp_path) == [".pull-c", "a", "b"]
    source.go.set()
    await pulling
    assert held(tmp_path) == ["a", "b", "c"]


async def test_what_was_half_pulled_goes_like_the_rest(cache: ArtifactCache, tmp_path: Path) -> None:
    (tmp_path / ".pull-x").mkdir()
    (tmp_path / ".pull-x" / "file").write_bytes(b"x" * SIZE)
    os.utime(tmp_path / ".pull-x", (0, 0))
    await use(cache, "a", "b", "c")
    assert held(tmp_path) == ["a", "b", "c"]


async def test_a_limit_of_nothing_keeps_only_what_is_in_use(source: Source, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, source, limit_bytes=0)
    with cache.held("a"):
        await cache.path("a")
        await use(cache, "b")
        await cache.trim()
        assert held(tmp_path) == ["a"]


async def test_a_full_disk_has_unused_artifacts_removed(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ArtifactCache(tmp_path, source)
    await use(cache, "a", "b", "c")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=(3 - len(held(tmp_path))) * SIZE))
    await use(cache, "d")  # one of the four on the disk is what is being pulled itself
    assert held(tmp_path) == ["c", "d"]
    with cache.held("c"), cache.held("d"), pytest.raises(ExhaustedError, match="is full"):
        await cache.path("e")
    assert held(tmp_path) == [".pull-e", "c", "d"]


async def test_what_was_half_removed_is_removed(cache: ArtifactCache, tmp_path: Path) -> None:
    await use(cache, "a")
    (tmp_path / f"{GONE}b" / "deep").mkdir(parents=True)
    cache.clean()
    assert held(tmp_path) == ["a"]


async def test_what_was_half_removed_does_not_keep_it_from_being_removed_again(
    cache: ArtifactCache, tmp_path: Path
) -> None:
    (tmp_path / f"{GONE}a" / "deep").mkdir(parents=True)
    await use(cache, "a", "b", "c", "d")
    assert held(tmp_path) == ["b", "c", "d"]


async def test_a_cache_that_is_not_there_needs_no_trimming(source: Source, tmp_path: Path) -> None:
    await ArtifactCache(tmp_path / "absent", source).trim()
    assert not (tmp_path / "absent").exists()
