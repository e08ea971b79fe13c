from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.datasets.source import FileSource, LocalDirectory, SourceFile, Window, local
from modelyard.errors import DataLossError, NotFoundError
from tests.unit.datasets.written import source


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
