"""The files of a script's directory as they are at one moment, held by links while they are read.

A file that is replaced by renaming is held as it was. One that is written in place cannot be: that is noticed, by its
time of change, before it is held or after it was read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard_worker.trainer.script.listing import files_below

LOOKS = 5
"""So often it is looked whether nothing was changed while files were linked. Then each is whole, of some moment."""


@dataclass(frozen=True)
class Held:
    """A file, by a link of its own.

    Attributes:
        path: the link.
        inode: number, time of change in ns, and size, as they were.
    """

    path: Path
    inode: tuple[int, int, int]

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing was written into it since. Raises OSError."""
        return _inode(self.path) == self.inode


@dataclass(frozen=True)
class Snapshot:
    """What a directory had.

    Attributes:
        held: files by their names.
        unsettled: names of files that were written into: half of a new one may be there.
    """

    held: Mapping[str, Held]
    unsettled: frozenset[str]


def take(directory: Path, links: Path, quiet_s: float) -> Snapshot:
    """Hold the regular files below a directory.

    Args:
        directory: which; links in it are passed over, and what `listing` passes over.
        links: a directory on the same disk, which is made anew. It is to be removed in the end.
        quiet_s: what has changed more recently may be half-written; 0: nothing is.

    Raises:
        OSError: the disk.
    """
    for _ in range(LOOKS):
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir(parents=True)
        found = _taken(directory, links, quiet_s)
        if _is_still(directory, found):
            break
    return found


def _taken(directory: Path, links: Path, quiet_s: float) -> Snapshot:
    until_ns = time.time_ns() - int(quiet_s * 1e9)
    held: dict[str, Held] = {}
    unsettled: set[str] = set()
    for number, (name, path) in enumerate(files_below(directory)):
        link = links / str(number)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it was removed meanwhile
            os.link(path, link, follow_symlinks=False)
            found = Held(link, _inode(link))
            if quiet_s and found.inode[1] > until_ns:
                unsettled.add(name)
                link.unlink()
            elif link.is_file() and not link.is_symlink():
                held[name] = found
    return Snapshot(held, frozenset(unsettled))


def inodes(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return number, time of change and size of each file that `take` would hold, or find unsettled."""
    found: dict[str, tuple[int, int, int]] = {}
    for name, path in files_below(directory):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found[name] = _inode(path)
    return found


def _is_still(directory: Path, snapshot: Snapshot) -> bool:
    """Whether the directory has the same files as when the first of them was linked; of unsettled ones, some."""
    now = inodes(directory)
    settled = {name: inode for name, inode in now.items() if name not in snapshot.unsettled}
    return settled == {name: one.inode for name, one in snapshot.held.items()}


def _inode(path: Path) -> tuple[int, int, int]:
    stat = path.lstat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
