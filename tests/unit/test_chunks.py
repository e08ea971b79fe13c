from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from modelyard import chunks
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def big_data() -> bytes:
    """Two whole chunks, of different content, and a bit."""
    return b"a" * CHUNK_SIZE_BYTES + b"b" * CHUNK_SIZE_BYTES + b"c"


def test_a_file_is_scanned_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")
    assert chunks.scan(path) == Manifest((File("model.onnx", 3, (sha256(b"abc"),)),))
    assert chunks.root_of(path) == tmp_path


def test_a_large_file_is_split_at_every_8_mib(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(big_data())
    (file,) = chunks.scan(path).files
    assert file.size_bytes == 2 * CHUNK_SIZE_BYTES + 1
    assert file.chunks == (sha256(b"a" * CHUNK_SIZE_BYTES), sha256(b"b" * CHUNK_SIZE_BYTES), sha256(b"c"))
    assert [c.size_bytes for c in chunks.chunks_of(file)] == [CHUNK_SIZE_BYTES, CHUNK_SIZE_BYTES, 1]


def test_a_file_of_exactly_one_chunk_has_one(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    path.write_bytes(bytes(CHUNK_SIZE_BYTES))
    assert len(chunks.scan(path).files[0].chunks) == 1


def test_a_directory_is_scanned_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    for name in ("b/deep/z", "a", "b.txt", "empty"):
        (tmp_path / name).write_text("" if name == "empty" else name)
    manifest = chunks.scan(tmp_path)
    assert [f.path for f in manifest.files] == ["a", "b.txt", "b/deep/z", "empty"]
    assert manifest.files[-1] == File("empty", 0, ())
    assert chunks.root_of(tmp_path) == tmp_path


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(big_data())
    counted: list[int] = []
    chunks.scan(path, counted.append)
    assert sum(counted) == len(big_data())


def test_nothing_at_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected a file or directory, found nothing"):
        chunks.scan(tmp_path / "absent")


@pytest.mark.parametrize("depth", ["", "folder"])
def test_symbolic_links_are_refused(tmp_path: Path, depth: str) -> None:
    folder = tmp_path / depth
    folder.mkdir(exist_ok=True)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInputError, match=r"link: .*found a symbolic link"):
        chunks.scan(tmp_path if depth else tmp_path / "link")


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InvalidInputError, match="symbolic link"):
        chunks.scan(tmp_path / "link")


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="expected regular files"):
        chunks.scan(tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        chunks.scan(tmp_path)


def test_equal_chunks_are_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    places = chunks.distinct_chunks(chunks.scan(tmp_path))
    assert [chunk.file.path for chunk in places.values()] == ["a"]


def test_a_chunk_is_read_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(big_data())
    (file,) = chunks.scan(path).files
    assert [chunks.read_chunk(tmp_path, chunk)[:1] for chunk in chunks.chunks_of(file)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("data", [b"abd", b"ab"])
def test_a_file_that_changed_meanwhile_is_noticed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    (file,) = chunks.scan(path).files
    path.write_bytes(data)
    with pytest.raises(DataLossError, match="changed while it was being read"):
        chunks.read_chunk(tmp_path, chunks.chunks_of(file)[0])


def test_a_file_that_was_removed_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    (file,) = chunks.scan(path).files
    path.unlink()
    with pytest.raises(DataLossError, match="was removed"):
        chunks.read_chunk(tmp_path, chunks.chunks_of(file)[0])


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", ".", "a//b", "a\\b", "a\0b"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataLossError, match="relative path"):
        chunks.target_path(tmp_path, path)


def test_paths_that_stay_inside_are_taken(tmp_path: Path) -> None:
    assert chunks.target_path(tmp_path, "a/b..c") == tmp_path / "a" / "b..c"


def test_whole_chunks_at_the_beginning_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(big_data())
    (file,) = chunks.scan(path).files
    assert chunks.count_whole_chunks(path, file) == 3
    assert chunks.is_whole(path, file)
    os.truncate(path, CHUNK_SIZE_BYTES + 5)
    assert chunks.count_whole_chunks(path, file) == 1
    assert not chunks.is_whole(path, file)
    assert chunks.count_whole_chunks(tmp_path / "absent", file) == 0


def test_a_file_that_goes_on_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    (file,) = chunks.scan(path).files
    path.write_bytes(b"abcd")
    assert not chunks.is_whole(path, file)


def manifest_of(*paths: str) -> Manifest:
    return Manifest(tuple(File(path, 0, ()) for path in paths))


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (manifest_of("model/net.onnx", "model/net.onnx.data"), "onnx"),
        (manifest_of("net.pt2", "labels.txt"), "torch_export"),
        (manifest_of("a.safetensors", "b/c.safetensors", "recipe.json", "config.json"), "safetensors"),
        (manifest_of("net.onnx", "optimizer.pt"), "onnx"),  # for the registry to judge
    ],
)
def test_formats_are_known_by_their_files(manifest: Manifest, expected: str) -> None:
    assert chunks.guess_format(manifest) == expected


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (manifest_of("a.onnx", "b.onnx"), "a.onnx, b.onnx"),
        (manifest_of("a.pt2", "b.pt2"), "a.pt2, b.pt2"),
        (manifest_of("b.pt2", "a.onnx", "c.txt"), "a.onnx, b.pt2"),
        (manifest_of("a.safetensors", "a.onnx", "recipe.json"), "a.onnx, a.safetensors"),
        (manifest_of("readme.md"), "readme.md"),
        (manifest_of(), "no file"),
    ],
)
def test_other_files_are_no_format(manifest: Manifest, found: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^artifact: expected one .onnx file, .*; found {found}$"):
        chunks.guess_format(manifest)


def test_weights_without_a_recipe() -> None:
    with pytest.raises(InvalidInputError, match=r"^artifact: expected a recipe.json beside a.safetensors, "):
        chunks.guess_format(manifest_of("a.safetensors", "sub/recipe.json"))


@pytest.mark.parametrize("name", ["weights.pt", "sub/model.PTH", "pytorch_model.bin", "m.pkl", "m.joblib"])
def test_what_looks_like_a_pickle_is_told_how_to_convert(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        chunks.guess_format(manifest_of("readme.md", name))
    assert caught.value.message.startswith(f"artifact: {name} looks like a pickle")
    assert "torch.onnx.export(" in caught.value.message
