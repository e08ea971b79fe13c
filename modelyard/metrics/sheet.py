"""The values of one process in a file: counters, gauges or histograms.

The format is that of prometheus_client's multiprocess mode, so that its collector adds up what several processes wrote.
It is written here and not there for three reasons: a removed label goes from the file, which that mode cannot do
(prometheus/client_python #720); adding to a value takes half the time; and children need not import that package.

bytes used (int32), 4 bytes of nothing, then for each value: length of the key (int32), the key, blanks to a multiple of
8 bytes, the value and a timestamp (two doubles). A key is JSON: [family, sample, labels, help].
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Collection, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_HEADER_BYTES = 8
_INITIAL_BYTES = 64 << 10
_UNIT = 8
_VALUE_BYTES = 16
_INTEGER = struct.Struct("i")


class Cell:
    """One value. Not thread-safe."""

    __slots__ = ("_at", "_values")

    def __init__(self) -> None:
        self._values: memoryview[float] = memoryview(bytearray(_UNIT)).cast("d")
        self._at = 0

    def place(self, values: memoryview[float], at: int) -> None:
        """Have the value at that index from now on."""
        values[at] = self._values[self._at]
        self._values, self._at = values, at

    @property
    def value(self) -> float:
        """What it is now."""
        return self._values[self._at]

    def add(self, amount: float) -> None:
        """Make it so much more."""
        self._values[self._at] += amount

    def set(self, value: float) -> None:
        """Make it this."""
        self._values[self._at] = value


class Histogram:
    """How often a value was at most each bound, and the sum of all. Not thread-safe."""

    __slots__ = ("_bounds", "_buckets", "_sum")

    def __init__(self, bounds: Sequence[float], buckets: Sequence[Cell], total: Cell) -> None:
        """`bounds` ascend; `buckets` has one more, for what is above all of them."""
        self._bounds = bounds
        self._buckets = buckets
        self._sum = total

    def observe(self, value: float) -> None:
        """Count a value."""
        self._buckets[bisect_left(self._bounds, value)].add(1)
        self._sum.add(value)


class Sheet:
    """Values by key. Not thread-safe.

    A file is replaced as a whole when it grows or shrinks: who reads it sees the old or the new one. Where that
    cannot be (the disk is full), it is counted in memory until the next time that it grows or shrinks.
    """

    def __init__(self, path: Path | None) -> None:
        """`path`: of the file; None: in memory."""
        self._path = path
        self._is_lost = False
        self._cells: dict[str, Cell] = {}
        self._write()

    @property
    def keys(self) -> Collection[str]:
        """Of all values."""
        return self._cells.keys()

    def cell(self, key: str) -> Cell:
        """Return the value of a key, 0 if it is new."""
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
            if self._used + _size(key) > len(self._memory):
                self._write()
            else:
                self._append(key, found)
        return found

    def drop(self, keys: Collection[str]) -> None:
        """Remove values; whoever still holds one of their cells writes into the void."""
        for key in keys:
            del self._cells[key]
        if keys:
            self._write()

    def mend(self) -> None:
        """Write the file anew if somebody has removed it."""
        if self._path is not None and not self._path.exists():
            self._write()

    def _write(self) -> None:
        """Begin a new file with all values, twice as large as they need."""
        needed = _HEADER_BYTES + sum(map(_size, self._cells))
        size_bytes = max(_INITIAL_BYTES, -2 * needed // _INITIAL_BYTES * -_INITIAL_BYTES)
        if self._path is None:
            self._begin(None, size_bytes)
            return
        draft = self._path.with_suffix(".new")
        try:
            self._begin(draft, size_bytes)
            draft.replace(self._path)
            self._is_lost = False
        except OSError as error:
            self._lose(draft, error)
            self._begin(None, size_bytes)

    def _lose(self, draft: Path, error: OSError) -> None:
        draft.unlink(missing_ok=True)
        if not self._is_lost:
            log.error("metrics counted in memory only", extra={"file": str(self._path), "reason": str(error)})
        self._is_lost = True

    def _begin(self, path: Path | None, size_bytes: int) -> None:
        self._memory = _map(path, size_bytes)
        self._values = memoryview(self._memory).cast("d")
        self._used = _HEADER_BYTES
        self._note_used()
        for key, cell in self._cells.items():
            self._append(key, cell)

    def _append(self, key: str, cell: Cell) -> None:
        encoded = key.encode()
        entry = self._used
        value = entry + _size(key) - _VALUE_BYTES
        self._memory[entry : entry + _INTEGER.size] = _INTEGER.pack(len(encoded))
        self._memory[entry + _INTEGER.size : value] = encoded.ljust(value - entry - _INTEGER.size)
        cell.place(self._values, value // _UNIT)
        self._used = value + _VALUE_BYTES
        self._note_used()

    def _note_used(self) -> None:
        self._memory[: _INTEGER.size] = _INTEGER.pack(self._used)


def _size(key: str) -> int:
    """The bytes of an entry; there is at least one blank after its key."""
    return (_INTEGER.size + len(key.encode())) // _UNIT * _UNIT + _UNIT + _VALUE_BYTES


def _map(path: Path | None, size_bytes: int) -> mmap.mmap:
    if path is None:
        return mmap.mmap(-1, size_bytes)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)  # to write into a hole of a full disk is SIGBUS
        return mmap.mmap(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def key_of(family: str, sample: str, labels: dict[str, str], text: str) -> str:
    """Return the key of a value."""
    return json.dumps([family, sample, labels, text], sort_keys=True)


def labels_of(key: str) -> dict[str, str]:
    """Return the labels in a key."""
    labels: dict[str, str] = json.loads(key)[2]
    return labels
