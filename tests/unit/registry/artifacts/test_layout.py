from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.artifacts import layout
from modelyard_registry.artifacts.layout import COPIES_BYTES, lay_out, scratch_directory
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.formats.known import (
    HEAD_BYTES,
    MAX_HEADER_BYTES,
    MAX_ONNX_BYTES,
    MAX_RECIPE_BYTES,
    check_sizes,
    looked_at,
)

DIGEST = "a" * 64
ALL = 1 << 60


@pytest.fixture
async def store(tmp_path: Path) -> ChunkStore:
    found = ChunkStore(str(tmp_path / "store"), "registry-0")
    await found.prepare()
    return found


async def keep(store: ChunkStore, data: bytes) -> str:
    await store.put(sha256(data), data)
    return sha256(data)


async def test_laid_out_is_what_is_looked_at_and_the_size_of_the_rest(store: ChunkStore, tmp_path: Path) -> None:
    first, last = await keep(store, b"x" * CHUNK_SIZE_BYTES), await keep(store, b"end")
    looked_at = {"all": ALL, "sub/some": CHUNK_SIZE_BYTES + 1, "sub/head": 5, "none": 0}
    sizes = CHUNK_SIZE_BYTES + 3, (first, last)
    files = tuple(File(path, *sizes) for path in looked_at)
    await lay_out(store, Manifest((*files, File("empty", 0, ()))), tmp_path / "out", lambda p: looked_at.get(p, 1))
    for path, expected in looked_at.items():
        found = (tmp_path / "out" / path).read_bytes()
        assert found == (b"x" * CHUNK_SIZE_BYTES + b"end")[:expected].ljust(len(found), b"\0"), path
        assert len(found) == CHUNK_SIZE_BYTES + 3
    assert (tmp_path / "out/empty").read_bytes() == b""


async def test_a_chunk_that_repeats_in_a_file_takes_its_room_once(store: ChunkStore, tmp_path: Path) -> None:
    chunk, last = b"x" * CHUNK_SIZE_BYTES, b"end"
    digests = [await keep(store, chunk), await keep(store, last)]
    size_bytes = 4_000 * CHUNK_SIZE_BYTES + len(last)
    files = [File(path, size_bytes, (*digests[:1] * 4_000, digests[1])) for path in ("a", "b")]
    await lay_out(store, Manifest(tuple(files)), tmp_path / "out", lambda _: ALL)
    for path in (tmp_path / "out" / "a", tmp_path / "out" / "b"):
        assert path.stat().st_size == size_bytes
        assert path.stat().st_blocks * 512 < 2 * CHUNK_SIZE_BYTES
        with path.open("rb") as file:
            assert file.read(CHUNK_SIZE_BYTES + 1) == chunk + b"\0"
            file.seek(-4, 2)
            assert file.read() == b"\0" + last


async def test_copies_have_a_bound(store: ChunkStore, tmp_path: Path) -> None:
    digest, count = await keep(store, b"x" * CHUNK_SIZE_BYTES), COPIES_BYTES // CHUNK_SIZE_BYTES
    files = tuple(File(str(n), CHUNK_SIZE_BYTES, (digest,)) for n in range(count + 2))
    with pytest.raises(InvalidInputError) as caught:
        await lay_out(store, Manifest(files), tmp_path / "out", lambda _: ALL)
    assert caught.value.message == (
        f"manifest: expected files of which {COPIES_BYTES + CHUNK_SIZE_BYTES} bytes or less must be read, which are "
        f"those of the distinct chunks and {COPIES_BYTES} for copies; got {COPIES_BYTES + 2 * CHUNK_SIZE_BYTES}"
    )
    assert not (tmp_path / "out").exists()
    await lay_out(store, Manifest(files), tmp_path / "out", lambda _: 1)
    assert (tmp_path / "out" / "0").read_bytes()[:2] == b"x\0"


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("onnx", "sub/m.onnx", MAX_ONNX_BYTES),
        ("onnx", "weights.bin", HEAD_BYTES),
        ("safetensors", "a/m.safetensors", MAX_HEADER_BYTES + 8),
        ("safetensors", "recipe.json", MAX_RECIPE_BYTES),
        ("safetensors", "tokenizer.json", HEAD_BYTES),
    ],
)
def test_how_much_is_looked_at(name: str, path: str, expected: int) -> None:
    assert looked_at(name, path) == expected
    assert looked_at("torch_export", "m.pt2") >= ALL


def test_an_onnx_file_is_no_larger_than_protobuf_allows() -> None:
    check_sizes("onnx", [File("a/m.onnx", MAX_ONNX_BYTES, ()), File("weights.bin", 1 << 40, ())])
    check_sizes("torch_export", [File("m.pt2", 1 << 40, ())])
    with pytest.raises(InvalidInputError) as caught:
        check_sizes("onnx", [File("a/m.onnx", 1 << 31, ())])
    assert caught.value.message == (
        "a/m.onnx: expected at most 2147483647 bytes, as protobuf allows, got 2147483648; "
        "save the weights as external data"
    )


async def test_a_chunk_that_went_is_data_loss(store: ChunkStore, tmp_path: Path) -> None:
    with pytest.raises(DataLossError, match="not in the artifact store"):
        await lay_out(store, Manifest((File("m.onnx", 10, (DIGEST,)),)), tmp_path / "out", len)


async def test_other_trouble_with_files_is_not_called_a_full_disk(store: ChunkStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.onnx").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        await lay_out(store, Manifest((File("m.onnx", 10, (DIGEST,)),)), tmp_path / "out", len)
    assert caught.value.errno == errno.EISDIR


async def test_who_goes_leaves_no_files(store: ChunkStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that creates them is waited for before they are removed."""
    entered, released, create = asyncio.Event(), threading.Event(), layout._create
    loop = asyncio.get_running_loop()

    def held_up(manifest: Manifest, directory: Path) -> None:
        loop.call_soon_threadsafe(entered.set)
        released.wait(30)
        create(manifest, directory)

    async def publish() -> None:
        async with scratch_directory(store.scratch_directory) as directory:
            await lay_out(store, Manifest((File("a/b", 0, ()),)), directory, len)

    monkeypatch.setattr(layout, "_create", held_up)
    publishing = asyncio.create_task(publish())
    await entered.wait()
    publishing.cancel()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert list(Path(str(store.scratch_directory)).iterdir()) == []
