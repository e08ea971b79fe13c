from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from modelyard.datasets.opening import is_directory
from modelyard.datasets.remote import RemoteFile, open_url
from modelyard.datasets.source import FileSource, LocalDirectory, SourceFile, Window, local
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from tests.unit.datasets.written import source

ALLOWED = ("memory://data/in", "https://example.org/sets")


def test_a_file_is_read_by_range(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    file = FileSource(tmp_path / "x")
    assert (file.size_bytes, file.read(3, 4), file.read(10, 0)) == (10, b"3456", b"")
    assert Window(file, 2, 5, "part").read(1, 3) == b"345"
    (tmp_path / "x").write_bytes(b"0123")
    with pytest.raises(DataLossError, match="x: expected 4 bytes at 3, got 1: the file has changed"):
        file.read(3, 4)
    (tmp_path / "x").unlink()
    with pytest.raises(NotFoundError, match="x: no such file"):
        file.read(0, 1)


def test_long_reads_are_made_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, offset: pread(file, min(length, 7), offset))
    assert FileSource(tmp_path / "x").read(5, 90) == bytes(range(5, 95))


def test_a_directory_has_its_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/1", "a", "c"):
        (tmp_path / name).write_text(name)
    directory = local(tmp_path)
    assert isinstance(directory, LocalDirectory)
    assert directory.paths() == ["a", "b/1", "c"]
    assert directory.open("b/1").read(0, 3) == b"b/1"
    with pytest.raises(NotFoundError, match="nope: no such file"):
        local(tmp_path / "nope")


def test_a_source_is_a_file_for_others() -> None:
    file = SourceFile(source(b"0123456789", "x"))
    assert file.read(4) == b"0123"
    assert file.seek(-3, os.SEEK_END) == 7
    assert file.read() == b"789"
    assert file.read(1) == b""
    file.seek(2)
    buffer = bytearray(3)
    assert file.readinto(memoryview(buffer)) == 3
    assert bytes(buffer) == b"234"


def test_what_is_below_an_allowed_url_can_be_read() -> None:
    with fsspec.open("memory://data/in/deep/x.npy", "wb") as out:
        out.write(b"0123456789")
    file = open_url("memory://data/in/deep/x.npy", ALLOWED)
    assert isinstance(file, RemoteFile)
    assert file.name == "memory://data/in/deep/x.npy"
    assert (file.size_bytes, file.read(2, 3), file.read(2, 0)) == (10, b"234", b"")
    with pytest.raises(DataLossError, match="expected 5 bytes at 8, got 2"):
        file.read(8, 5)
    directory = open_url("memory://data/in", ALLOWED)
    assert is_directory(directory)
    assert directory.paths() == ["deep/x.npy"]
    assert directory.open("deep/x.npy").read(9, 1) == b"9"
    with pytest.raises(NotFoundError, match="memory://data/in/nope: no such file"):
        open_url("memory://data/in/nope", ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "memory://data/inner/x",
        "memory://data",
        "memory://data/in/../secret",
        "memory://data/in/%2e%2e/secret",
        "memory://data/in/..\\secret",
        "simplecache::memory://data/in/x",
        "memory://data/in/x::file:///etc/passwd",
        "file:///etc/passwd",
        "/etc/passwd",
        "https://example.org.evil.net/sets/x",
        "https://example.org/setsx",
    ],
)
def test_any_other_url_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a URL below memory://data/in, https://example\.org/sets"):
        open_url(url, ALLOWED)
    with pytest.raises(InvalidInputError, match="this server allows no URLs"):
        open_url(url, ())


def test_messages_have_no_credentials_of_urls() -> None:
    with pytest.raises(InvalidInputError) as told:
        open_url("https://user:word@example.org/x?token=secret", ALLOWED)
    assert "https://example.org/x:" in told.value.message
    assert "word" not in told.value.message
    assert "secret" not in told.value.message


def test_a_store_that_is_not_installed_is_told() -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: Protocol not known: nope"):
        open_url("nope://x", ("nope://x",))


def test_links_do_not_lead_out_of_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in" / "x").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    root = f"file://{tmp_path}/in"
    assert open_url(f"{root}/x", [root]).name == f"{root}/x"
    with pytest.raises(InvalidInputError, match="it is a link out of them"):
        open_url(f"{root}/link", [root])
    directory = open_url(root, [root])
    assert is_directory(directory)
    with pytest.raises(InvalidInputError, match="it is a link out of"):
        directory.open("link")
