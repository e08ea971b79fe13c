"""Files held by links while they are read."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from modelyard_worker.trainer.script import snapshot
from modelyard_worker.trainer.script.snapshot import take

HOUR_NS = 3600 * 10**9


def test_what_is_replaced_later_is_held_as_it_was(tmp_path: Path) -> None:
    directory, links = tmp_path / "shared", tmp_path / "links"
    (directory / "made").mkdir(parents=True)
    (directory / "made/a").write_text("1")
    (directory / "b").write_text("2")
    links.mkdir()
    (links / "0").write_text("of another time")
    found = take(directory, links, 0.0)
    (directory / "new").write_text("other")
    (directory / "new").replace(directory / "made/a")
    (directory / "b").write_text("other")
    held = found.held
    assert (held["made/a"].path.read_text(), held["made/a"].is_unchanged) == ("1", True)
    assert not held["b"].is_unchanged
    assert {*held} == {"made/a", "b"}
    assert not found.unsettled


def test_what_has_just_changed_is_not_held(tmp_path: Path) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    for name, ago_ns in (("old", HOUR_NS), ("new", -HOUR_NS)):
        (directory / name).touch()
        os.utime(directory / name, ns=(0, time.time_ns() - ago_ns))
    found = take(directory, tmp_path / "links", 1.0)
    assert ({*found.held}, {*found.unsettled}) == ({"old"}, {"new"})
    assert len(list((tmp_path / "links").iterdir())) == 1


def test_what_is_no_file_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "new\nline").touch()
    (directory / "link").symlink_to("new\nline")
    (directory / "nowhere").symlink_to("gone")
    os.mkfifo(directory / "pipe")
    monkeypatch.chdir(directory)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert take(directory, tmp_path / "links", 0.0).held.keys() == {"new\nline"}


def test_a_directory_that_never_is_at_rest_is_held_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "a").touch()
    link, made = os.link, list[Path]()

    def change(source: Path, target: Path, *, follow_symlinks: bool) -> None:
        link(source, target, follow_symlinks=follow_symlinks)
        made.append(directory / f"{len(made)}")
        made[-1].touch()

    monkeypatch.setattr(os, "link", change)
    assert "a" in take(directory, tmp_path / "links", 0.0).held
    assert len(made) >= snapshot.LOOKS
