"""The files below a directory: what they are now, what they were, and what all workers are to have. No groups here."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modelyard import codec
from modelyard.train.checkpoint import durable

_LEFT_OUT = "__pycache__"


@dataclass(frozen=True)
class Known:
    """A file as it was last seen: its time of change in ns, its size, and the digest of what is in it."""

    mtime_ns: int
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Record:
    """What was shared last.

    Attributes:
        number: larger each time that it was; 0: nothing was shared yet. Who has a smaller one than others has missed
            something.
        rank: that this worker's first rank had then.
        files: as they were then, by path.
    """

    number: int = 0
    rank: int = 0
    files: dict[str, Known] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """What a worker has now.

    Attributes:
        record: what it had when it was shared last.
        files: what is there, by path.
    """

    record: Record
    files: dict[str, Known]

    @property
    def changed(self) -> dict[str, str]:
        """Digests of files that are new or other ones since, by path."""
        before = self.record.files
        digests = {path: known.digest for path, known in self.files.items()}
        return {path: d for path, d in digests.items() if path not in before or before[path].digest != d}

    @property
    def removed(self) -> set[str]:
        """What was there then, and is not any more."""
        return self.record.files.keys() - self.files.keys()


def read(path: Path) -> Record:
    """Return a record; one of nothing if it is not there, or not understood."""
    try:
        return codec.decode(Record, path.read_bytes())
    except (FileNotFoundError, codec.MalformedError):
        return Record()


def write(path: Path, record: Record) -> None:
    """Write a record. Raises OSError."""
    durable.write(path, codec.encode(record))


def digest_of(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, new_digest).hexdigest()


def new_digest() -> hashlib.blake2b:
    """Return what makes one."""
    return hashlib.blake2b(digest_size=16)


def listing(
    directory: Path, record: Record, quiet_s: float = 0.0, read_file: Callable[[Path], str] = digest_of
) -> Listing:
    """Look at what is there; files that have neither another size nor another time than recorded are not read.

    Args:
        directory: in which it is. Links, and files whose names are no plain text, are passed over.
        record: of what was shared last.
        quiet_s: files that have changed more recently count as they were: they may be half-written.
        read_file: returns the digest of one that is to be read.
    """
    until_ns = time.time_ns() - int(quiet_s * 1e9) if quiet_s else math.inf
    files: dict[str, Known] = {}
    for name, path in files_below(directory):
        known = _seen(path, record.files.get(name), until_ns, read_file)
        if known is not None:
            files[name] = known
    return Listing(record, files)


def merged(listings: Sequence[Listing]) -> dict[str, str]:
    """Return what all are to have: path and digest.

    Those whose record is the latest count: what one of them has changed since then, or removed. What several have
    changed is as it is where the lowest rank was. What is a file for one and a directory for another is a directory.
    """
    latest = max(one.record.number for one in listings)
    counted = sorted((one for one in listings if one.record.number == latest), key=lambda one: one.record.rank)
    removed = {path for one in counted for path in one.removed}
    wanted: dict[str, str] = {}
    for one in reversed(counted):
        wanted |= {path: known.digest for path, known in one.files.items() if path not in removed}
    for one in reversed(counted):
        wanted |= one.changed
    directories = {str(parent) for path in wanted for parent in PurePosixPath(path).parents}
    return {path: found for path, found in sorted(wanted.items()) if path not in directories}


def known_as(path: Path, found: str) -> Known:
    """Return what is known of a file with that digest. Raises OSError."""
    stat = path.stat()
    return Known(stat.st_mtime_ns, stat.st_size, found)


def files_below(directory: Path) -> Iterator[tuple[str, Path]]:
    """Go through the regular files below a directory, as (name, path).

    Left out are caches of compiled code, and what others may not have: links, and names that are no plain text.
    """
    for at, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name != _LEFT_OUT]
        for path in (Path(at, name) for name in names):
            name = path.relative_to(directory).as_posix()
            if path.is_file() and not path.is_symlink() and _is_plain(name):
                yield name, path


def _is_plain(name: str) -> bool:
    return "\\" not in name and name == name.encode(errors="replace").decode()


def _seen(path: Path, before: Known | None, until_ns: float, read_file: Callable[[Path], str]) -> Known | None:
    """A file; None: there is none yet that counts."""
    try:
        stat = path.stat()
        if before is not None and (before.mtime_ns, before.size_bytes) == (stat.st_mtime_ns, stat.st_size):
            return before
        if stat.st_mtime_ns > until_ns:
            return before
        return Known(stat.st_mtime_ns, stat.st_size, read_file(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):  # the script has removed it meanwhile
        return None
    except PermissionError:  # nobody can have what the script keeps to itself
        return before
