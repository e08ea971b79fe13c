"""Directories of training jobs on a worker, on a real etcd: they are there until the job has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard import keys
from modelyard.etcd import Etcd
from modelyard_worker.training import folders
from modelyard_worker.training.folders import JobFolders
from tests.waiting import eventually


async def test_a_directory_is_removed_when_its_job_has_ended_and_its_processes(
    etcd: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "LOOK_S", 0.01)
    looked: list[str] = []
    running = {"job-runs"}

    def in_use(job: str) -> bool:
        looked.append(job)
        return job in running

    made = JobFolders(tmp_path, etcd, in_use)
    await etcd.put(keys.training_charter("job-paused"), b"{}")
    for job in ("job-paused", "job-runs", "job-of-before"):
        (made.folder(job) / "code").mkdir(parents=True)
    await eventually(lambda: not (tmp_path / "job-of-before").exists())
    looked.clear()
    await eventually(lambda: {"job-paused", "job-runs"} <= {*looked[:-4]})  # two more looks at least
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job-paused", "job-runs"]
    running.clear()
    await etcd.delete(keys.training_charter("job-paused"))
    await eventually(lambda: not list(tmp_path.iterdir()))
