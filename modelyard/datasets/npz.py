"""npz: a zip archive with one npy file a column.

A member that is stored (numpy.savez) is read by range. One that is deflated (numpy.savez_compressed) has to be inflated
from its beginning: reading on is cheap, reading further back starts anew.
"""

from __future__ import annotations

import struct
import zipfile
import zlib

from modelyard.datasets.npy import NpyArray, NpyDataset
from modelyard.datasets.source import BUFFER_BYTES, Source, Window, buffered, exactly
from modelyard.errors import InvalidInputError

_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Inflating:
    """A deflated member of an archive, as a source."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
        self._file = archive.open(member)
        self.name = name
        self.size_bytes = member.file_size

    def read(self, offset: int, length: int) -> bytes:
        """As Source says; not by two threads at a time."""
        try:
            self._pass_to(offset)
            data = self._file.read(length)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InvalidInputError(f"{self.name}: the archive is corrupt: {error}") from error
        return exactly(data, offset, length, self.name)

    def _pass_to(self, offset: int) -> None:
        if offset < self._file.tell():
            self._file.seek(0)
        while (left := offset - self._file.tell()) > 0:
            if not self._file.read(min(left, BUFFER_BYTES)):
                raise EOFError("it ends too early")


def open_npz(source: Source) -> NpyDataset:
    """An npz archive; columns are named after its members.

    Raises:
        InvalidInputError: it is no such archive, or corrupt, or its arrays differ in their numbers of rows.
    """
    try:
        archive = zipfile.ZipFile(buffered(source))
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        found = {m.filename.removesuffix(".npy"): NpyArray(_member(source, archive, m)) for m in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error, ValueError, EOFError) as error:
        raise InvalidInputError(f"{source.name}: expected an npz archive: {error}") from error
    if not found:
        raise InvalidInputError(f"{source.name}: expected an npz archive, got a zip archive without npy files")
    return NpyDataset(source.name, found)


def _member(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Source:
    name = f"{source.name}/{member.filename}"
    if member.flag_bits & 1:
        raise InvalidInputError(f"{name}: expected a member that is not encrypted")
    if member.compress_type != zipfile.ZIP_STORED:
        return Inflating(archive, member, name)
    at = member.header_offset
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(source.read(at, _LOCAL_HEADER.size))
    if magic != b"PK\3\4":
        raise InvalidInputError(f"{name}: the archive is corrupt: no header at {at}")
    return Window(source, at + _LOCAL_HEADER.size + name_bytes + extra_bytes, member.file_size, name)
