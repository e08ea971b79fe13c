"""The disk below the artifact cache: what lies there, when it was last used, and what goes when room is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from modelyard.config import format_bytes
from modelyard.errors import ExhaustedError

log = logging.getLogger(__name__)

UNFINISHED = ".pull-"
SIZES = ".sizes-"
GONE = ".gone-"


@dataclass(frozen=True)
class Stored:
    """An artifact in the cache, whole or not; `used_s`: when it was last used, in seconds since the epoch."""

    path: Path
    digest: str
    size_bytes: int
    used_s: float


def find(directory: Path) -> list[Stored]:
    """Return what is stored, the least recently used first."""
    places = (p for p in directory.glob("*") if p.is_dir() and not p.name.startswith(GONE))
    found = []
    for place in places:
        with contextlib.suppress(FileNotFoundError):  # it became whole, or went, meanwhile
            found.append(Stored(place, place.name.removeprefix(UNFINISHED), size_of(place), place.stat().st_mtime))
    return sorted(found, key=lambda stored: stored.used_s)


def size_of(place: Path) -> int:
    """The bytes of all files below a directory; 0 if there is none."""
    size_bytes = 0
    for parent, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size_bytes += os.lstat(os.path.join(parent, name)).st_size
    return size_bytes


def make_room(directory: Path, limit_bytes: int, coming_bytes: int, spared: Collection[str]) -> None:
    """Remove what was not used for longest, until what is on its way fits under the limit and onto the disk.

    What is spared stays, even if all of it is more than the limit.

    Args:
        directory: of the cache.
        limit_bytes: how much may lie there.
        coming_bytes: how much is on its way.
        spared: digests of what is in use or on its way.

    Raises:
        ExhaustedError: the disk has not enough room for what is on its way.
    """
    if not directory.is_dir():
        return
    stored = find(directory)
    held_bytes = sum(s.size_bytes for s in stored)
    for candidate in (s for s in stored if s.digest not in spared):
        if held_bytes + coming_bytes <= limit_bytes and coming_bytes <= shutil.disk_usage(directory).free:
            return
        log.info("artifact evicted", extra={"manifest": candidate.digest, "size_bytes": candidate.size_bytes})
        remove(candidate.path)
        held_bytes -= candidate.size_bytes
    free_bytes = shutil.disk_usage(directory).free
    if coming_bytes > free_bytes:
        raise disk_full(directory, f"expected {format_bytes(coming_bytes)} free, found {format_bytes(free_bytes)}")


def disk_full(directory: Path, what: str) -> ExhaustedError:
    """The error for a disk without enough room."""
    return ExhaustedError(f"the disk of {directory} is full: {what}")


def remove(place: Path) -> None:
    """Remove an artifact; who is interrupted leaves nothing that looks like one."""
    gone = place.with_name(f"{GONE}{place.name}")
    if gone.exists():  # an earlier removal failed halfway
        shutil.rmtree(gone)
    place.rename(gone)
    place.with_name(f"{SIZES}{place.name}").unlink(missing_ok=True)
    shutil.rmtree(gone)


def touch(place: Path) -> None:
    """Note that an artifact is used now."""
    os.utime(place)
