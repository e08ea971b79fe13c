"""Where bytes come from: any file that can be read by range, and directories of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol, cast

from modelyard.errors import DataLossError, InvalidInputError, NotFoundError

BUFFER_BYTES = 1 << 18


class Source(Protocol):
    """A file that does not change while it is read."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def size_bytes(self) -> int:
        """All its bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from an offset on; both lie within the file.

        Raises:
            DataLossError: there are fewer.
            ModelyardError: it cannot be read.
        """


class Directory(Protocol):
    """Files under their paths."""

    @property
    def name(self) -> str:
        """How messages call it."""

    def paths(self) -> Sequence[str]:
        """The relative paths of all files, in order."""

    def open(self, path: str) -> Source:
        """The file of a path."""


def exactly(data: bytes, offset: int, length: int, name: str) -> bytes:
    """Return what was read, or raise DataLossError if it is not as long as it was to be."""
    if len(data) != length:
        raise DataLossError(f"{name}: expected {length} bytes at {offset}, got {len(data)}: the file has changed")
    return data


class FileSource:
    """A local file. It is opened for each read, so that thousands may be held."""

    def __init__(self, path: Path, name: str = "") -> None:
        """Look at its size.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: it cannot be read.
        """
        self._path = path
        self.name = name or path.name
        try:
            self.size_bytes = path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from error

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        try:
            with self._path.open("rb", buffering=0) as file:
                return exactly(_pread(file.fileno(), offset, length), offset, length, self.name)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> NotFoundError | InvalidInputError:
        if isinstance(error, FileNotFoundError):
            return NotFoundError(f"{self.name}: no such file")
        return InvalidInputError(f"{self.name}: cannot be read: {error.strerror}")


def _pread(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]  # one read gives 2 GiB at most
    while data and sum(map(len, parts)) < length:
        done = sum(map(len, parts))
        data = os.pread(descriptor, length - done, offset + done)
        parts.append(data)
    return b"".join(parts)


class LocalDirectory:
    """A local directory with all below it; links to directories are not followed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        found = (Path(at, file) for at, _, files in os.walk(self._path, onerror=self._refuse) for file in files)
        return sorted(path.relative_to(self._path).as_posix() for path in found)

    def _refuse(self, error: OSError) -> None:
        raise InvalidInputError(f"{self.name}: cannot be read: {error.strerror}") from error

    def open(self, path: str) -> Source:
        """As Directory says."""
        return FileSource(self._path / path, path)


def local(path: Path) -> Source | Directory:
    """What is at a local path.

    Raises:
        NotFoundError: nothing.
        InvalidInputError: it cannot be read.
    """
    return LocalDirectory(path) if path.is_dir() else FileSource(path)


class Window:
    """A part of a source, as a source."""

    def __init__(self, source: Source, offset: int, size_bytes: int, name: str) -> None:
        self._source = source
        self._offset = offset
        self.size_bytes = size_bytes
        self.name = name

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        return self._source.read(self._offset + offset, length)


class SourceFile(io.RawIOBase):
    """A source as a file of Python's, for libraries that want one."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The offset of what is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go somewhere; return where."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size_bytes}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, fewer at the end; negative: all that are left."""
        left = max(self._source.size_bytes - self._at, 0)
        length = left if size is None or size < 0 else min(size, left)
        data = self._source.read(self._at, length) if length else b""
        self._at += length
        return data

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes; return how many."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def buffered(source: Source) -> IO[bytes]:
    """A source as a file that reads ahead."""
    return cast(IO[bytes], io.BufferedReader(SourceFile(source), BUFFER_BYTES))
