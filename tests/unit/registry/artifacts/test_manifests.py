from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.manifests import check_chunks, check_manifest, lay_out, load_manifest, save_manifest
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.formats.known import HEAD_BYTES, MAX_HEADER_BYTES, looked_at

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
    ["", "/", "/etc/passwd", "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\\b", "a\0b", "\\\\host\\a"],
)
def test_bad_paths(path: str) -> None:
    assert refusal(file(path)) == f"manifest: expected a relative path without '..', got {path!r}"


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
    with pytest.raises(DataLossError, match="expected 11 bytes in the store, got 10 bytes"):
        await check_chunks(store, Manifest((file("a", 11, digest),)))


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


async def test_laid_out_is_what_is_looked_at_and_the_size_of_the_rest(store: ChunkStore, tmp_path: Path) -> None:
    first, last = await keep(store, b"x" * CHUNK_SIZE_BYTES), await keep(store, b"end")
    looked_at = {"all": 1 << 60, "sub/some": CHUNK_SIZE_BYTES + 1, "sub/head": 5, "none": 0}
    sizes = CHUNK_SIZE_BYTES + 3, (first, last)
    files = tuple(File(path, *sizes) for path in looked_at)
    await lay_out(store, Manifest((*files, File("empty", 0, ()))), tmp_path / "out", lambda p: looked_at.get(p, 1))
    for path, expected in looked_at.items():
        found = (tmp_path / "out" / path).read_bytes()
        assert found == (b"x" * CHUNK_SIZE_BYTES + b"end")[:expected].ljust(len(found), b"\0"), path
        assert len(found) == CHUNK_SIZE_BYTES + 3
    assert (tmp_path / "out/empty").read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("onnx", "sub/m.onnx", sys.maxsize),
        ("onnx", "weights.bin", HEAD_BYTES),
        ("torch_export", "m.pt2", sys.maxsize),
        ("safetensors", "a/m.safetensors", MAX_HEADER_BYTES + 8),
        ("safetensors", "recipe.json", sys.maxsize),
        ("safetensors", "tokenizer.json", HEAD_BYTES),
    ],
)
def test_how_much_is_looked_at(name: str, path: str, expected: int) -> None:
    assert looked_at(name, path) == expected


async def test_a_chunk_that_went_is_data_loss(store: ChunkStore, tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match="not in the artifact store"):
        await lay_out(store, Manifest((file(),)), tmp_path / "out", len)


async def test_other_trouble_with_files_is_not_called_a_full_disk(store: ChunkStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.onnx").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        await lay_out(store, Manifest((file(),)), tmp_path / "out", len)
    assert caught.value.errno == errno.EISDIR
