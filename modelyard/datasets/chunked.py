"""Files of artifacts, and pieces of results, read by whole chunks: whoever sends a part of one has to verify all of it.

A few chunks of each file are kept, and as long as a file is read on and on the next ones are fetched meanwhile. So what
is held in memory is bounded, `ahead` + 2 chunks a file, and rows that follow each other cost each chunk once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError as GivenUpError
from concurrent.futures import Future

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.chunks import Chunk, chunks_of
from modelyard.datasets.images import is_image
from modelyard.datasets.source import Directory, Source, exactly
from modelyard.errors import CancelledError, NotFoundError

AHEAD = 1
Fetch = Callable[[Chunk], "Future[bytes]"]
"""Begins to fetch a chunk, verified; its errors are ModelyardErrors."""


class ChunkedFile:
    """A file that is chunks, as a source."""

    def __init__(
        self, file: File, fetch: Fetch, *, chunk_size_bytes: int = CHUNK_SIZE_BYTES, ahead: int = AHEAD
    ) -> None:
        """`ahead`: how many chunks are fetched before they are wanted; nothing is fetched yet."""
        self.name = file.path
        self.size_bytes = file.size_bytes
        self._chunks = chunks_of(file, chunk_size_bytes)
        self._chunk_size_bytes = chunk_size_bytes
        self._fetch = fetch
        self._ahead = ahead
        self._held: dict[int, Future[bytes]] = {}
        self._last = -2  # so that to look at its beginning is not yet to read on
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        if not length:
            return b""
        first, last = offset // self._chunk_size_bytes, (offset + length - 1) // self._chunk_size_bytes
        parts = [self._part(index, offset, offset + length, last) for index in range(first, last + 1)]
        return exactly(b"".join(parts), offset, length, self.name)

    def _part(self, index: int, begin: int, end: int, last: int) -> bytes:
        """What lies between two offsets of a chunk; chunks are read until the last one."""
        data, start = self._chunk(index, last), index * self._chunk_size_bytes
        return data[max(begin - start, 0) : end - start]

    def _chunk(self, index: int, last: int) -> bytes:
        with self._lock:
            wanted = self._begin(index)
            if index == self._last + 1 or index < last:
                for following in range(index + 1, min(index + 1 + self._ahead, len(self._chunks))):
                    self._begin(following)
            self._last = index
        try:
            return wanted.result()
        except GivenUpError:
            raise CancelledError(f"{self.name}: reading it was given up") from None

    def _begin(self, index: int) -> Future[bytes]:
        """A chunk that is held, or fetched from now on; those that were wanted longest ago are let go."""
        found = self._held.pop(index, None)
        if found is None or _has_failed(found):
            found = self._fetch(self._chunks[index])
        self._held[index] = found
        for oldest in list(self._held)[: -(self._ahead + 2)]:
            del self._held[oldest]
        return found


def _has_failed(fetched: Future[bytes]) -> bool:
    return fetched.done() and (fetched.cancelled() or fetched.exception() is not None)


class ChunkedDirectory:
    """All files of an artifact."""

    def __init__(self, manifest: Manifest, fetch: Fetch, name: str) -> None:
        self.name = name
        self._chunk_size_bytes = manifest.chunk_size_bytes
        self._fetch = fetch
        self._files = {file.path: file for file in manifest.files}

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        return sorted(self._files)

    def open(self, path: str) -> Source:
        """As Directory says.

        Raises:
            NotFoundError: there is no such file.
        """
        if path not in self._files:
            raise NotFoundError(f"{self.name}: no file {path!r}")
        return ChunkedFile(self._files[path], self._fetch, chunk_size_bytes=self._chunk_size_bytes)


def open_artifact(manifest: Manifest, path: str, fetch: Fetch, name: str = "artifact") -> Source | Directory:
    """The file of a path, or, where there is no path, the only file or all of them as a directory.

    An artifact does not tell a directory of one file from that file: an image is a dataset in a directory only.

    Raises:
        NotFoundError: there is no such file.
    """
    files = ChunkedDirectory(manifest, fetch, name)
    only = manifest.files[0].path if len(manifest.files) == 1 else ""
    wanted = path or ("" if is_image(only) else only)
    return files.open(wanted) if wanted else files
