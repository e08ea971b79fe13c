from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from modelyard.datasets.opening import Opening, is_directory, open_dataset
from modelyard.datasets.remote import RemoteDirectory, RemoteFile, open_url, stamp_of
from modelyard.datasets.source import Source
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError, UnavailableError
from tests.unit.datasets.written import source, write_images

ALLOWED = ("memory://data/in",)


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


def test_a_store_that_is_not_installed_is_told() -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: Protocol not known: nope"):
        open_url("nope://x", ("nope://x",))
    with pytest.raises(InvalidInputError, match="cannot be read: Please install gcsfs"):
        open_url("gs://bucket/x", ("gs://bucket",))


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


def test_what_is_neither_file_nor_directory_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    root = f"file://{tmp_path}"
    with pytest.raises(InvalidInputError, match=r"pipe\.csv: expected a file or directory, got something else"):
        open_url(f"{root}/pipe.csv", [root])
    directory = open_url(root, [root])
    assert is_directory(directory)
    with pytest.raises(InvalidInputError, match=r"pipe\.csv: expected a file or directory"):
        directory.open("pipe.csv")


def test_every_url_is_checked_before_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="expected a URL below memory://data/in"):
        open_url(f"file://{tmp_path}/x", ALLOWED)


def test_a_store_that_fails_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("x")
    file = open_url(f"file://{tmp_path}/x", [f"file://{tmp_path}"])
    assert isinstance(file, RemoteFile)

    def fail(*_: object, **__: object) -> bytes:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(file._fs, "cat_file", fail)
    with pytest.raises(UnavailableError, match="the store does not answer: reset by peer"):
        file.read(0, 1)


def test_a_file_that_changed_is_recognised_when_it_is_opened(tmp_path: Path) -> None:
    url, allowed = f"file://{tmp_path}/x.csv", [f"file://{tmp_path}"]
    (tmp_path / "x.csv").write_text("a\n1\n")
    stamp = stamp_of(open_url(url, allowed))
    assert stamp.startswith("4 ")
    assert stamp_of(open_url(url, allowed, stamp)) == stamp
    (tmp_path / "x.csv").write_text("a\n2\n")
    os.utime(tmp_path / "x.csv", (1, 1))  # of the same size
    with pytest.raises(InvalidInputError, match=f"has changed since its rows were counted: expected {stamp}, got"):
        open_url(url, allowed, stamp)


def test_a_directory_that_changed_is_recognised_when_it_is_opened(tmp_path: Path) -> None:
    write_images(tmp_path)
    url, allowed = f"file://{tmp_path}/x", [f"file://{tmp_path}"]
    stamp = stamp_of(open_url(url, allowed))
    assert stamp.startswith("12 files ")
    assert stamp_of(open_url(url, allowed, stamp)) == stamp
    os.utime(tmp_path / "x" / "03.png", (1, 1))
    with pytest.raises(InvalidInputError, match="has changed since its rows were counted"):
        open_url(url, allowed, stamp)


def test_what_is_no_url_has_no_stamp() -> None:
    assert stamp_of(source(b"", "x")) == ""


def test_of_many_images_one_is_read_to_know_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path)
    image = (tmp_path / "x" / "00.png").read_bytes()
    for n in range(12, 2000):
        (tmp_path / "x" / f"{n:04}.png").write_bytes(image)
    opened: list[str] = []
    plainly = RemoteDirectory.open

    def noted(directory: RemoteDirectory, path: str) -> Source:
        opened.append(path)
        return plainly(directory, path)

    monkeypatch.setattr(RemoteDirectory, "open", noted)
    dataset = open_dataset(open_url(f"file://{tmp_path}/x", [f"file://{tmp_path}"]), Opening("images"))
    assert (dataset.rows, opened) == (2000, ["00.png"])
    assert dataset.columns[0].shape == (5, 4, 3)
