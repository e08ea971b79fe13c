"""Chunks in a local directory: each is written and synced elsewhere, then moved to its place, then that is synced."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from modelyard_registry.artifacts.failures import no_room
from modelyard_registry.artifacts.scratch import ChunkFile, ScratchFile

DIGEST = re.compile(r"[0-9a-f]{64}\Z")
"""The name of a chunk: whatever else lies among them is not ours."""


class Directory:
    """A local directory, through fsspec. All methods block.

    chunks/{first two hex digits}/{digest}   a chunk, whole or not there
    scratch/{owner}/                         what one registry is writing; emptied when that registry starts
    """

    questions = 4
    """How many threads ask for sizes at a time."""

    def __init__(self, fs: Any, root: str, owner: str) -> None:
        self._fs = fs
        self._chunks = f"{root}/chunks"
        self.scratch = f"{root}/scratch/{owner}"

    def prepare(self) -> None:
        """Create what is not there, empty the scratch; raise OSError if that is not possible."""
        if self._fs.exists(self.scratch):
            self._fs.rm(self.scratch, recursive=True)
        self._fs.makedirs(self.scratch, exist_ok=True)
        for first in range(256):
            self._fs.makedirs(f"{self._chunks}/{first:02x}", exist_ok=True)
        _sync_directory(self._chunks)

    def check(self) -> None:
        """Raise OSError unless chunks can be put here and read here."""
        for directory in (self.scratch, self._chunks):
            os.stat(directory)
            if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "expected a directory that can be written", directory)

    def _path(self, digest: str) -> str:
        return f"{self._chunks}/{digest[:2]}/{digest}"

    def write(self, digest: str, data: bytes | bytearray) -> None:
        """Keep a chunk, on disk; raise ExhaustedError if there is no room, OSError if it fails otherwise."""
        scratch = ScratchFile(self.scratch)
        try:
            scratch.write([data])
            self.take(digest, scratch)
        finally:
            scratch.close()

    def take(self, digest: str, scratch: ScratchFile) -> None:
        """Keep a chunk that is in a file of the scratch directory; raises as `write`."""
        path = self._path(digest)
        try:
            scratch.sync()
            self._fs.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(scratch.path, path)
            _sync_directory(os.path.dirname(path))
        except OSError as error:
            raise no_room(error, scratch.size_bytes) or error from error

    def size(self, digest: str) -> int | None:
        """The bytes of a chunk, None where there is none."""
        try:
            return int(self._fs.size(self._path(digest)))
        except FileNotFoundError:
            return None

    def read(self, digest: str) -> bytes:
        """The bytes of a chunk; raise FileNotFoundError where there is none."""
        data: bytes = self._fs.cat_file(self._path(digest))
        return data

    def open(self, digest: str) -> ChunkFile:
        """A chunk, to be read in part; raise FileNotFoundError where there is none."""
        return ChunkFile(os.open(self._path(digest), os.O_RDONLY))

    def chunks(self, first: str) -> list[tuple[str, int]]:
        """The chunks whose digests begin with two hex digits, with their sizes in bytes."""
        with os.scandir(f"{self._chunks}/{first}") as entries:
            return [(entry.name, entry.stat().st_size) for entry in entries if DIGEST.match(entry.name)]

    def remove(self, digests: Sequence[str], check: Callable[[], None]) -> list[str]:
        """Remove chunks and return those that were there; `check` is called right before each, and may end this."""
        removed = []
        for digest in digests:
            check()
            try:
                os.unlink(self._path(digest))
            except FileNotFoundError:
                continue
            removed.append(digest)
        return removed


def _sync_directory(path: str) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
