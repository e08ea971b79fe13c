"""Files of ours that chunks pass through, so that how long a client takes costs no memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Sequence
from typing import IO

from modelyard_registry.artifacts.failures import no_room

_BUFFER_BYTES = 256 << 10


class ScratchFile:
    """What has come of a chunk. All methods block."""

    def __init__(self, directory: str | None) -> None:
        """Create it; raises as `write`.

        Args:
            directory: from where it can be moved into the store; None: it has no name, and is only read again.
        """
        self.path = f"{directory}/{uuid.uuid4().hex}" if directory else ""
        self.size_bytes = 0
        self._file = _new_file(self.path)
        self._sha256 = hashlib.sha256()

    def write(self, block: Sequence[bytes | bytearray]) -> None:
        """Add bytes; raise ExhaustedError if there is no room, OSError if it fails otherwise."""
        whole_bytes = self.size_bytes + sum(map(len, block))
        try:
            for piece in block:
                self._sha256.update(piece)
                self._write(memoryview(piece))
        except OSError as error:
            raise no_room(error, whole_bytes) or error from error

    def _write(self, left: memoryview) -> None:
        while left:
            count = self._file.write(left)
            self.size_bytes += count
            left = left[count:]

    def sha256(self) -> str:
        """The digest of what was written, in hex."""
        return self._sha256.hexdigest()

    def sync(self) -> None:
        """Have it on disk; raise OSError if that fails."""
        os.fsync(self._file.fileno())

    def read(self) -> bytes:
        """All of it."""
        return os.pread(self._file.fileno(), self.size_bytes, 0)

    def reopened(self) -> ChunkFile:
        """The same file, to be read in part; it is there until that is closed."""
        return ChunkFile(os.dup(self._file.fileno()))

    def close(self) -> None:
        """Forget it. What was moved into the store stays there."""
        self._file.close()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def _new_file(path: str) -> IO[bytes]:
    try:
        return open(path, "xb", buffering=0) if path else tempfile.TemporaryFile(buffering=0)
    except OSError as error:
        raise no_room(error, 0) or error from error


class ChunkFile:
    """A chunk that can be read, in part. All methods block."""

    def __init__(self, fd: int) -> None:
        """Take over an open file."""
        self._fd = fd
        self.size_bytes = os.fstat(fd).st_size

    def sha256(self) -> str:
        """The digest of what is there, in hex."""
        found = hashlib.sha256()
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        offset = 0
        while count := os.preadv(self._fd, [buffer], offset):
            found.update(buffer[:count])
            offset += count
        return found.hexdigest()

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`.

        A read names its place, so that one in another thread does no harm when the file is closed meanwhile.
        """
        return os.pread(self._fd, end - start, start)

    def copy(self, out: IO[bytes], size_bytes: int) -> int:
        """Write so many bytes, from the beginning, to another file; return how many."""
        for at in range(0, size_bytes, _BUFFER_BYTES):
            out.write(os.pread(self._fd, min(_BUFFER_BYTES, size_bytes - at), at))
        return size_bytes

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)
