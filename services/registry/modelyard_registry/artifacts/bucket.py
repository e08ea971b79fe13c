"""Chunks in a remote store, through fsspec: in any that fsspec knows."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import fsspec

from modelyard_registry.artifacts.directory import DIGEST
from modelyard_registry.artifacts.failures import translated
from modelyard_registry.artifacts.scratch import ChunkFile, ScratchFile


class Bucket:
    """A prefix of a remote store, whose puts are atomic. All methods block.

    chunks/{first two hex digits}/{digest}   a chunk, whole or not there

    Every method raises PreconditionError where the store refuses us, and UnavailableError where it does not answer.
    """

    questions = 32
    """How many threads ask for sizes at a time: each is answered after a round trip."""
    scratch = None
    options: ClassVar[dict[str, Any]] = {}
    """What fsspec's class is made with."""
    failures: tuple[type[Exception], ...] = (OSError,)
    """What that raises when the store fails."""
    removed_at_once = 1
    """How many chunks one request removes."""

    def __init__(self, url: str) -> None:
        """`url`: an fsspec URL; endpoint and credentials come from where fsspec's class for it looks for them."""
        self._url = url
        self._fs, root = fsspec.core.url_to_fs(url, **self.options)
        self._root = root.rstrip("/")
        self._chunks = f"{self._root}/chunks"

    def prepare(self) -> None:
        """Raise unless chunks can be put here."""
        probe = f"{self._root}/probe/{uuid.uuid4().hex}"
        with self._answering(missing=True):
            self._fs.pipe_file(probe, b"can this be written?")
            self._fs.rm_file(probe)

    def check(self) -> None:
        """Raise unless it answers, by asking for a chunk that nobody has."""
        self.size("0" * 64)

    @contextlib.contextmanager
    def _answering(self, *, missing: bool = False, size_bytes: int = 0) -> Iterator[None]:
        """Turn the store's errors into ours; with `missing`, that something is not found is one too."""
        try:
            yield
        except self.failures as error:
            if isinstance(error, FileNotFoundError) and not missing:
                raise
            raise translated(error, self._url, size_bytes) from error

    def _path(self, digest: str) -> str:
        return f"{self._chunks}/{digest[:2]}/{digest}"

    def write(self, digest: str, data: bytes | bytearray) -> None:
        """Keep a chunk; raise ExhaustedError if there is no room."""
        with self._answering(missing=True, size_bytes=len(data)):
            self._fs.pipe_file(self._path(digest), data)

    def take(self, digest: str, scratch: ScratchFile) -> None:
        """Keep a chunk that is in a file of ours; raise ExhaustedError if there is no room."""
        self.write(digest, scratch.read())

    def size(self, digest: str) -> int | None:
        """The bytes of a chunk, None where there is none."""
        try:
            with self._answering():
                return self._size(self._path(digest))
        except FileNotFoundError:
            return None

    def _size(self, path: str) -> int:
        return int(self._fs.size(path))

    def read(self, digest: str) -> bytes:
        """The bytes of a chunk; raise FileNotFoundError where there is none."""
        with self._answering():
            data: bytes = self._fs.cat_file(self._path(digest))
            return data

    def open(self, digest: str) -> ChunkFile:
        """A chunk in a file of ours, to be read in part; raise FileNotFoundError where there is none."""
        scratch = ScratchFile(None)
        try:
            scratch.write([self.read(digest)])
            return scratch.reopened()
        finally:
            scratch.close()

    def chunks(self, first: str) -> list[tuple[str, int]]:
        """The chunks whose digests begin with two hex digits, with their sizes in bytes."""
        try:
            with self._answering():
                entries = list(self._entries(f"{self._chunks}/{first}"))
        except FileNotFoundError:
            return []
        named = [(path.rpartition("/")[2], size_bytes) for path, size_bytes in entries]
        return [(name, size_bytes) for name, size_bytes in named if DIGEST.match(name)]

    def _entries(self, directory: str) -> Iterator[tuple[str, int]]:
        for entry in self._fs.ls(directory, detail=True):
            yield entry["name"], int(entry["size"])

    def remove(self, digests: Sequence[str], check: Callable[[], None]) -> list[str]:
        """Remove chunks and return them; `check` is called right before each request, and may end this."""
        with self._answering():
            for start in range(0, len(digests), self.removed_at_once):
                check()
                self._remove([self._path(digest) for digest in digests[start : start + self.removed_at_once]])
        return list(digests)

    def _remove(self, paths: Sequence[str]) -> None:
        self._fs.rm(list(paths))
