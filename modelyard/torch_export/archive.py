"""The zip files that torch writes, read without torch: bounded, and refused where torch would not have written them so.

Everything that torch reads differently from Python's zipfile is refused too, so that what is checked here is what a
worker loads: packed or encrypted entries, bytes outside the entries, names twice, more than one root.
"""

from __future__ import annotations

import struct
import zipfile
from types import TracebackType
from typing import IO, Any

from modelyard.errors import InvalidInputError

MAX_DIRECTORY_BYTES = 32 << 20
MAX_ENTRIES = 100_000

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_DAMAGED = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, struct.error)
_LOCATOR64 = struct.Struct("<4sLQL")


class TorchArchive:
    """A zip file of torch whose entries are known by their paths below its one root folder."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        """`name`: what messages call it; `file`: seekable.

        Raises:
            InvalidInputError: it is not a zip file as torch writes them.
        """
        self.name = name
        try:
            _check_directory(name, file)
            self._zip = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise InvalidInputError(f"{name}: expected a zip file as torch writes it: {str(error)[:200]}") from None
        entries = self._zip.infolist()
        for entry in entries:
            _check_entry(name, entry)
        self.root = entries[0].filename.partition("/")[0] if entries else ""
        self._entries = {e.filename.removeprefix(f"{self.root}/"): e for e in entries}
        self._check_names(entries)

    def __enter__(self) -> TorchArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._zip.close()

    def _check_names(self, entries: list[zipfile.ZipInfo]) -> None:
        if not entries:
            raise InvalidInputError(f"{self.name}: expected a zip file with entries, got none")
        if len(self._entries) != len(entries):
            raise InvalidInputError(f"{self.name}: expected distinct entries, got one twice")

    @property
    def paths(self) -> list[str]:
        """The paths of all entries, in the order of the file. Files of torch before 2.8 have no root folder."""
        return list(self._entries)

    def size(self, path: str) -> int | None:
        """The bytes of an entry; None where there is none."""
        entry = self._entries.get(path)
        return entry.file_size if entry else None

    def open(self, path: str) -> IO[bytes]:
        """Open an entry that is there; it can be sought in. Raises InvalidInputError if its header is damaged."""
        try:
            return self._zip.open(self._entries[path])
        except _DAMAGED as error:
            raise InvalidInputError(f"{self.name}: {path}: damaged: {str(error)[:200]}") from None

    def read(self, path: str, max_bytes: int) -> bytes:
        """Return an entry.

        Raises:
            InvalidInputError: it is missing, larger than that or damaged.
        """
        size_bytes = self.size(path)
        if size_bytes is None:
            raise InvalidInputError(f"{self.name}: expected an entry {path!r}, which is missing")
        if size_bytes > max_bytes:
            raise InvalidInputError(f"{self.name}: {path}: expected at most {max_bytes} bytes, got {size_bytes}")
        try:
            return self._zip.read(self._entries[path])
        except _DAMAGED as error:
            raise InvalidInputError(f"{self.name}: {path}: damaged: {str(error)[:200]}") from None


def _check_directory(name: str, file: IO[bytes]) -> None:
    """The directory must stand where the end records say, be of bounded size, and be followed by them alone."""
    size = file.seek(0, 2)
    end = _record(file, size - _END.size, _END)
    if end is None or end[0] != b"PK\x05\x06" or end[7] != 0:
        raise InvalidInputError(f"{name}: expected a zip file, got something else or the beginning of one")
    entries, length, offset, stop = end[4], end[5], end[6], size - _END.size
    locator = _record(file, stop - _LOCATOR64.size, _LOCATOR64)
    if locator and locator[0] == b"PK\x06\x07":
        stop -= _LOCATOR64.size + _END64.size
        end64 = _record(file, stop, _END64)
        if end64 is None or end64[0] != b"PK\x06\x06" or locator[2] != stop:
            raise InvalidInputError(f"{name}: expected a zip file as torch writes it, got another end record")
        entries, length, offset = end64[7], end64[8], end64[9]
    if offset + length != stop:
        raise InvalidInputError(f"{name}: expected a zip file without bytes before or between its parts")
    if length > MAX_DIRECTORY_BYTES or entries > MAX_ENTRIES:
        raise InvalidInputError(
            f"{name}: expected at most {MAX_ENTRIES} entries, named in {MAX_DIRECTORY_BYTES} bytes; "
            f"got {entries} in {length}"
        )


def _record(file: IO[bytes], offset: int, record: struct.Struct) -> tuple[Any, ...] | None:
    if offset < 0:
        return None
    file.seek(offset)
    return record.unpack(file.read(record.size))


def _check_entry(name: str, entry: zipfile.ZipInfo) -> None:
    shown = repr(entry.filename[:80])
    parts = entry.filename.split("/")
    if entry.orig_filename != entry.filename or "\\" in entry.filename or {"", ".", ".."} & set(parts):
        raise InvalidInputError(f"{name}: expected entries with relative paths without '..', got {shown}")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise InvalidInputError(f"{name}: {shown}: expected an entry that is stored as it is, got a compressed one")
    if entry.flag_bits & 1:
        raise InvalidInputError(f"{name}: {shown}: expected an entry that can be read, got an encrypted one")
