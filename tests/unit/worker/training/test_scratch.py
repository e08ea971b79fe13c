"""Directories of processes of training."""

from __future__ import annotations

import stat
from pathlib import Path

from modelyard_worker.training.scratch import SHARED, STACKS, cleared, made, stacks


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_an_agent_has_left_that_was_killed_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "training"
    (directory / "job-1-abc" / "checkpoints").mkdir(parents=True)
    (directory / SHARED / "job-1").mkdir(parents=True)
    assert cleared(directory) == directory
    assert [path.name for path in directory.iterdir()] == [SHARED]
    assert list((directory / SHARED).iterdir())
    assert mode(directory) == 0o700


def test_others_cannot_read_what_processes_write(tmp_path: Path) -> None:
    assert mode(made(tmp_path / "training" / "job-1-abc")) == 0o700
    assert mode(tmp_path / "training") == 0o700


def test_of_the_stacks_those_in_the_users_code_are_told(tmp_path: Path) -> None:
    assert stacks(tmp_path, "/code") == ""
    ours, users = 'Thread 1:\n  File "/lib/a.py", line 1', 'Thread 2:\n  File "/code/recipe.py", line 3'
    (tmp_path / STACKS).write_text(f"{ours}\n\n{users}\n")
    assert stacks(tmp_path, "/code") == users
    assert stacks(tmp_path, "/elsewhere") == f"{ours}\n\n{users}"
