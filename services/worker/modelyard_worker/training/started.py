"""What a process of training has started, and outlives it: found by a variable that is passed on to all of it."""

from __future__ import annotations

import contextlib

import psutil

MARK = "TRAINING_PROCESS_OF_MODELYARD"
"""The directory of a process of training, which no other one has. What begins as settings do is refused by services."""
_ROUNDS = 10
"""Who is being started while others are ended is found in the next one."""


def marked(mark: str, variable: str = MARK) -> list[psutil.Process]:
    """Return the processes of this user that have the mark in that variable; who has ended has none."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == mark:
                found.append(process)
    return found


def end(mark: str, variable: str = MARK) -> None:
    """Send SIGKILL to all that have the mark, in whatever session they are. Call it once who has started them ended."""
    for _ in range(_ROUNDS):
        found = marked(mark, variable)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not found:
            return
