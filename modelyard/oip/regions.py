"""Regions of system shared memory: which are registered, and the bytes in them.

A region is opened for each use and copied from or to, never mapped: a client that shrinks one under us would end a
process that has it mapped.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]  # Python's own shm_open
import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from modelyard.deployment import Region
from modelyard.errors import InvalidInputError
from modelyard.names import MAX_LENGTH

MAX_BYTES = (1 << 63) - 1


class Regions(Protocol):
    """Where registrations are kept."""

    async def find(self, name: str) -> Region | None:
        """Return one; None if there is none of that name."""

    async def all(self) -> Mapping[str, Region]:
        """Return all by name."""

    async def add(self, region: Region) -> Region:
        """Register one, unless its name is taken; return what is registered by that name now."""

    async def remove(self, name: str) -> None:
        """Forget one, or all where no name is given."""


class LocalRegions:
    """Registrations of one process."""

    def __init__(self) -> None:
        self._regions: dict[str, Region] = {}

    async def find(self, name: str) -> Region | None:
        """Return one; None if there is none of that name."""
        return self._regions.get(name)

    async def all(self) -> Mapping[str, Region]:
        """Return all by name."""
        return dict(self._regions)

    async def add(self, region: Region) -> Region:
        """Register one, unless its name is taken; return what is registered by that name now."""
        return self._regions.setdefault(region.name, region)

    async def remove(self, name: str) -> None:
        """Forget one, or all where no name is given."""
        for known in [name] if name else list(self._regions):
            self._regions.pop(known, None)


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: so many bytes of a region, from an offset on. `owner` begins messages: "input 'x'"."""

    owner: str
    region: Region
    offset: int
    size_bytes: int

    def read(self) -> bytes:
        """Return what lies there; raise InvalidInputError if it is not there any more."""
        with _opened(self.region) as file:
            data = os.pread(file, self.size_bytes, self.region.offset + self.offset)
            if len(data) != self.size_bytes:
                raise _shrunk(self.region, os.fstat(file).st_size)
        return data

    def write(self, data: bytes) -> None:
        """Put it there.

        Raises:
            InvalidInputError: it is too large, or the region is not there any more, or there is no memory left for it.
        """
        if len(data) > self.size_bytes:
            raise InvalidInputError(
                f"{self.owner}: expected at least {len(data)} bytes in shared memory region {self.region.name!r}, "
                f"got {self.size_bytes}"
            )
        with _opened(self.region) as file:
            _check_size(self.region, file)
            self._write(file, memoryview(data), self.region.offset + self.offset)

    def _write(self, file: int, rest: memoryview, position: int) -> None:
        try:
            while rest:
                written = os.pwrite(file, rest, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            reason = f"shared memory region {self.region.name!r} cannot be written to: {error.strerror}"
            raise InvalidInputError(f"{self.owner}: {reason}") from None


def checked(region: Region) -> Region:
    """Return a region that can be registered: its shared memory is there, and has the size that is said.

    Raises:
        InvalidInputError: it is not, or the region's name is none of 1 to 120 printable characters without '/'.
    """
    name = region.name
    if not name or len(name) > MAX_LENGTH or "/" in name or not name.isprintable():
        raise InvalidInputError(
            f"shared memory region: expected a name of 1 to {MAX_LENGTH} printable characters without '/', "
            f"got {name!a:.200}"
        )
    if not region.size_bytes or region.offset + region.size_bytes > MAX_BYTES:
        raise InvalidInputError(
            f"shared memory region {name!r}: expected a byte_size from 1 to {MAX_BYTES} less the offset, got "
            f"{region.size_bytes} and offset {region.offset}"
        )
    with _opened(region) as file:
        _check_size(region, file)
    return region


@contextlib.contextmanager
def _opened(region: Region) -> Iterator[int]:
    """The file of a region; raise InvalidInputError if there is none, or it is no shared memory."""
    try:
        if "\0" in region.key:
            raise ValueError("it has a character of code 0")
        file: int = _posixshmem.shm_open(region.key, os.O_RDWR, mode=0)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInputError(
            f"shared memory region {region.name!r}: expected the key of a shared memory object on this host, got "
            f"{region.key!a:.200}: {reason}"
        ) from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise InvalidInputError(f"shared memory region {region.name!r}: {region.key!a:.200} is no shared memory")
        yield file
    finally:
        os.close(file)


def _check_size(region: Region, file: int) -> None:
    size = os.fstat(file).st_size
    if size < region.offset + region.size_bytes:
        raise _shrunk(region, size)


def _shrunk(region: Region, size: int) -> InvalidInputError:
    expected = region.offset + region.size_bytes
    return InvalidInputError(
        f"shared memory region {region.name!r}: expected at least {expected} bytes in {region.key!a:.200}, got {size}"
    )
