"""Directories of journals: each replica has its own, and those of killed ones go."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from modelyard.metrics import DIRECTORY, Journal, families, scratch
from modelyard.metrics.replica import ReplicaMetrics


def directories(below: Path) -> set[Path]:
    return set(below.glob("metrics-*"))


async def test_a_directory_goes_with_its_replica(tmp_path: Path) -> None:
    async with ReplicaMetrics("worker", tmp_path) as metrics:
        assert directories(tmp_path) == {Path(metrics.environ[DIRECTORY])}
    assert directories(tmp_path) == set()


async def test_the_next_to_start_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    async with ReplicaMetrics("worker", tmp_path) as living:
        dead = ReplicaMetrics("worker", tmp_path)
        dead.journal.cell(families.UNLOADS, "m", "1").add(1)
        dead.journal.close()  # as the kernel does for one that is killed
        assert len(directories(tmp_path)) == 2
        async with ReplicaMetrics("scheduler", tmp_path) as later:
            assert directories(tmp_path) == {Path(m.environ[DIRECTORY]) for m in (living, later)}


async def test_a_directory_stays_while_a_child_lives(tmp_path: Path) -> None:
    dead = ReplicaMetrics("worker", tmp_path)
    child = Journal(Path(dead.environ[DIRECTORY]))
    dead.journal.close()
    async with ReplicaMetrics("worker", tmp_path):
        assert Path(dead.environ[DIRECTORY]).is_dir()
    child.close()
    async with ReplicaMetrics("worker", tmp_path):
        assert not Path(dead.environ[DIRECTORY]).exists()


def test_all_lie_below_one_directory_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = scratch.root()
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o777 == 0o700
    assert scratch.root() == found
    found.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found.symlink_to(elsewhere)
    with pytest.raises(OSError, match="expected a directory of user"):
        scratch.root()
