from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.manifests import (
    MAX_FILES,
    check_chunks,
    check_manifest,
    load_manifest,
    save_manifest,
)
from modelyard_registry.artifacts.store import ChunkStore, sha256

DIGEST = "a" * 64
OTHER = "b" * 64


@pytest.fixture
async def store(tmp_path: Path) -> ChunkStore:
    found = ChunkStore(str(tmp_path / "store"), "registry-0")
    await found.prepare()
    return found


def file(path: str = "m.onnx", size_bytes: int = 10, *chunks: str) -> File:
    return File(path, size_bytes, chunks or (DIGEST,))


def refusal(*files: File, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> str:
    with pytest.raises(InvalidInputError) as caught:
        check_manifest(Manifest(files, chunk_size_bytes))
    return caught.value.message


async def keep(store: ChunkStore, data: bytes) -> str:
    await store.put(sha256(data), data)
    return sha256(data)


@pytest.mark.parametrize(
    "path", ["m.onnx", "a/b/c", "..a", "a..", ".hidden", "a b", "ä/ö", "x" * 255, "a/" * 511 + "b"]
)
def test_good_paths(path: str) -> None:
    check_manifest(Manifest((file(path),)))


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "\\\\host\\a"],
)
def test_bad_paths(path: str) -> None:
    assert refusal(file(path)) == f"manifest: expected a relative path without '..', got {path!r}"


@pytest.mark.parametrize("character", "\0\n\x1b\x7f\x9b\u202a\u202e\u2066\u2069\ud800\udfff")
def test_paths_that_mislead(character: str) -> None:
    path = f"a/{character}b"
    assert refusal(file(path)) == f"manifest: expected a path without control characters, got {path!r}"


@pytest.mark.parametrize("path", ["x" * 256, "ä" * 128, "a/" * 600 + "b", "x" * 1_000_000])
def test_long_paths(path: str) -> None:
    message = refusal(file(path))
    assert "at most 1024 bytes, 255 a part" in message
    assert len(message) < 200


def test_no_files_and_no_paths_twice() -> None:
    assert refusal() == "manifest: expected at least one file, got none"
    assert refusal(file("a"), file("b"), file("a")) == "manifest: expected distinct paths, got one twice"


def test_a_file_is_not_a_directory() -> None:
    check_manifest(Manifest((file("a/b"), file("a/c"), file("ab"))))
    assert "'a/b'" in refusal(file("a/b/c/d"), file("a/b"))


def test_so_many_files_and_directories() -> None:
    empty = [File(f"d{n % 7}/{n}", 0, ()) for n in range(MAX_FILES + 1)]
    check_manifest(Manifest(tuple(empty[: MAX_FILES - 7])))
    assert refusal(*empty[: MAX_FILES - 6]) == "manifest: expected at most 100000 files and directories, got more"
    assert refusal(*empty) == "manifest: expected at most 100000 files, got 100001"
    nested = [File(f"{n}/" + "a/" * 500 + "b", 0, ()) for n in range(300)]
    assert refusal(*nested) == "manifest: expected at most 100000 files and directories, got more"


def test_chunk_size_is_fixed() -> None:
    assert "chunk_size_bytes" in refusal(file(), chunk_size_bytes=CHUNK_SIZE_BYTES // 2)
    assert "chunk_size_bytes" in refusal(file(), chunk_size_bytes=0)


@pytest.mark.parametrize(
    ("size_bytes", "count"),
    [
        (0, 1),
        (1, 0),
        (1, 2),
        (CHUNK_SIZE_BYTES, 2),
        (CHUNK_SIZE_BYTES + 1, 1),
        (1 << 60, 1),
        (-1, 0),
        (-CHUNK_SIZE_BYTES, 1),
    ],
)
def test_chunks_agree_with_the_size(size_bytes: int, count: int) -> None:
    message = refusal(File("a", size_bytes, (DIGEST,) * count))
    assert f"'a' of {size_bytes} bytes" in message
    assert f"got {count}" in message


@pytest.mark.parametrize(("size_bytes", "count"), [(0, 0), (1, 1), (CHUNK_SIZE_BYTES, 1), (3 * CHUNK_SIZE_BYTES, 3)])
def test_sizes_at_the_edges(size_bytes: int, count: int) -> None:
    check_manifest(Manifest((File("a", size_bytes, (DIGEST,) * count),)))


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_bad_digests(digest: str) -> None:
    assert "64 hex digits" in refusal(File("a", 1, (digest,)))


def test_one_chunk_has_one_size() -> None:
    check_manifest(Manifest((file("a", 10), file("b", 10))))
    assert DIGEST in refusal(file("a", 10), file("b", 11))
    assert DIGEST in refusal(file("a", CHUNK_SIZE_BYTES + 10, DIGEST, OTHER), file("b", 10))


async def test_missing_and_short_chunks(store: ChunkStore) -> None:
    digest = await keep(store, b"0123456789")
    await check_chunks(store, Manifest((file("a", 10, digest),)))
    with pytest.raises(DataLossError, match="expected 10 bytes in the store, got nothing"):
        await check_chunks(store, Manifest((file("a", 10, digest), file("b", 10, OTHER))))


async def test_a_claim_of_another_size_casts_no_doubt_on_a_chunk(store: ChunkStore) -> None:
    digest = await keep(store, b"0123456789")
    with pytest.raises(InvalidInputError, match="expected 10 bytes, as the store has with that sha256, got 11"):
        await check_chunks(store, Manifest((file("a", 11, digest),)))
    assert await store.sizes([digest]) == {digest: 10}
    await check_chunks(store, Manifest((file("a", 10, digest),)))


async def test_a_chunk_that_is_cut_off_counts_as_missing(store: ChunkStore, tmp_path: Path) -> None:
    digest = await keep(store, b"0123456789")
    (tmp_path / "store" / "chunks" / digest[:2] / digest).write_bytes(b"01234")
    for _ in range(2):
        with pytest.raises(DataLossError, match="the stored bytes have another sha256"):
            await check_chunks(store, Manifest((file("a", 10, digest),)))
        assert await store.sizes([digest]) == {digest: None}


async def test_a_manifest_is_kept_whatever_the_order_of_its_files(store: ChunkStore) -> None:
    files = file("b", 10), file("a", 20, OTHER)
    digest = await save_manifest(store, Manifest(files))
    assert await save_manifest(store, Manifest(files[::-1])) == digest
    assert await load_manifest(store, digest) == Manifest(files[::-1])


async def test_what_is_no_manifest(store: ChunkStore) -> None:
    for data in (b"text", b"\xff\xfe", b"[]", b"{}", b'{"files": 3}'):
        with pytest.raises(NotFoundError, match="not a manifest"):
            await load_manifest(store, await keep(store, data))
    with pytest.raises(NotFoundError, match="not in the artifact store"):
        await load_manifest(store, DIGEST)
