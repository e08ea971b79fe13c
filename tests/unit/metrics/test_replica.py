"""Directories of journals: each replica has its own, and those of killed ones go."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from modelyard.metrics import DIRECTORY, Journal, families, scratch
from modelyard.metrics.replica import ReplicaMetrics
from modelyard.metrics.sampling import Samplers
from modelyard.names import ModelVersion


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


async def test_what_a_cleaner_removed_is_written_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    """By everyone, at its next look; who is started meanwhile makes the directory itself."""
    async with ReplicaMetrics("worker", tmp_path / "state" / "metrics") as metrics:
        journals = [metrics.journal, Journal(Path(metrics.environ[DIRECTORY]))]
        for journal in journals:
            journal.cell(families.UNLOADS, "m", "1").add(1)
        shutil.rmtree(tmp_path / "state")
        journals.append(Journal(Path(metrics.environ[DIRECTORY])))
        for journal in journals:
            journal.cell(families.UNLOADS, "m", "1").add(2)
            Samplers(journal, lambda: {ModelVersion("m", "1")}).sample()
        assert counted(metrics) == 8
        journals[1].close()
        metrics.gathering.sample()
        assert counted(metrics) == 8
        assert len(list(Path(metrics.environ[DIRECTORY]).glob("*.lock"))) == 2
        journals[2].close()


def counted(metrics: ReplicaMetrics) -> float:
    (found,) = (f for f in metrics.gathering.collect() if f.name == families.UNLOADS.base)
    return sum(sample.value for sample in found.samples)


def test_where_it_cannot_be_written_anew_it_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path / "metrics")
    journal.cell(families.UNLOADS, "m", "1").add(1)
    shutil.rmtree(tmp_path / "metrics")
    (tmp_path / "metrics").write_bytes(b"in the way")
    journal.mend()
    journal.mend()
    assert caplog.text.count("metrics kept nowhere") == 1
    (tmp_path / "metrics").unlink()
    journal.mend()
    assert len(list((tmp_path / "metrics").iterdir())) == 2
    journal.close()


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
