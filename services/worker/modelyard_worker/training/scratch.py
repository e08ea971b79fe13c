"""Directories of processes of training: each has one of its own, which no other user can read."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelyard_worker.training import started

SHARED = "jobs"
"""Below the same directory, but shared by a job's ranks; it outlives an agent."""
STACKS = "stacks.txt"
"""In the directory of a process: where its threads were when it was killed, or stuck."""
MOST_STACKS = 20_000
_PRIVATE = 0o700


def cleared(directory: Path) -> Path:
    """Return the directory for all of them, without what an agent has left there that was killed, nor who runs on."""
    directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    directory.chmod(_PRIVATE)
    for path in directory.iterdir():
        if path.name != SHARED:
            started.end(str(path))
            shutil.rmtree(path, ignore_errors=True)
    return directory


def made(directory: Path) -> Path:
    """Make the directory of a process."""
    directory.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    directory.mkdir(mode=_PRIVATE, exist_ok=True)
    return directory


def stacks(directory: Path, code: str) -> str:
    """Return where the threads of a process were: of several those that were in the user's code, if any were.

    Args:
        directory: of the process.
        code: where the user's code is.
    """
    try:
        text = (directory / STACKS).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    threads = text.split("\n\n")
    users = [thread for thread in threads if code and code in thread]
    return "\n\n".join(users or threads)[:MOST_STACKS].strip()
