"""Where the journals of a service replica are kept: {where its state is}/metrics/metrics-…, one directory for each.

One that has no state of its own keeps them below {temporary files}/modelyard-{user id}.

A replica that is killed cannot remove its own; the next one to start on the machine does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from modelyard.metrics.journal import LOCK, is_alive

PREFIX = "metrics-"


def root() -> Path:
    """The directory of all replicas of this user; raise OSError if somebody else has taken its name."""
    found = Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}"
    found.mkdir(mode=0o700, exist_ok=True)
    if found.is_symlink() or found.stat().st_uid != os.getuid():
        raise OSError(f"{found}: expected a directory of user {os.getuid()}, got one of another")
    return found


@contextlib.contextmanager
def new_directory(below: Path) -> Iterator[Path]:
    """Make a directory, and remove those of the dead; within this, the new one gets the lock that shows it alive."""
    below.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (below / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for other in below.glob(f"{PREFIX}*"):
            if not any(is_alive(lock) for lock in other.glob(f"*{LOCK}")):
                shutil.rmtree(other)
        yield Path(tempfile.mkdtemp(prefix=PREFIX, dir=below))
