"""Chunks by their sha256, behind fsspec: a local directory, or any store fsspec knows.

chunks/{first two hex digits}/{digest}   a chunk, whole or not there: it is written elsewhere and moved here
scratch/{owner}/                         what one registry is writing; emptied when that registry starts
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterable

import fsspec
from fsspec.implementations.local import LocalFileSystem

from modelyard.errors import DataLossError, ExhaustedError, InvalidInputError, NotFoundError
from modelyard.names import check_name

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_FULL = {errno.ENOSPC, errno.EDQUOT}
_QUESTIONS = 4
"""How many threads ask a store for sizes at a time: a remote one answers each after a round trip."""


def check_digest(digest: str) -> str:
    """Return the digest, or raise InvalidInputError."""
    if not _DIGEST.match(digest):
        raise InvalidInputError(f"chunk digest: expected 64 hex digits of a sha256, got {digest[:80]!r}")
    return digest


def sha256(data: bytes | bytearray) -> str:
    """The digest of a chunk, in hex."""
    return hashlib.sha256(data).hexdigest()


def no_room(error: OSError, size_bytes: int) -> ExhaustedError | None:
    """The error to raise for bytes that could not be kept because a disk is full; None for any other reason."""
    if error.errno not in _FULL:
        return None
    return ExhaustedError(f"artifact store is full: {size_bytes} bytes could not be kept")


class ChunkStore:
    """A content-addressed store of chunks. Blocking I/O runs in threads."""

    def __init__(self, url: str, owner: str) -> None:
        """`url`: a directory, or an fsspec URL such as s3://bucket/prefix; `owner`: unique among those who write."""
        self._fs, root = fsspec.core.url_to_fs(url)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._chunks = f"{root.rstrip('/')}/chunks"
        self._scratch = f"{root.rstrip('/')}/scratch/{check_name('registry', owner)}"
        self._doubted: set[str] = set()

    @property
    def scratch_directory(self) -> str | None:
        """Where temporary files may be put so that they do not outlive the owner's next start; None: not here."""
        return self._scratch if self._local else None

    def _path(self, digest: str) -> str:
        return f"{self._chunks}/{check_digest(digest)[:2]}/{digest}"

    async def prepare(self) -> None:
        """Create the store and drop what an earlier process left unfinished; raise OSError if that is not possible."""
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        if self._fs.exists(self._scratch):
            self._fs.rm(self._scratch, recursive=True)
        self._fs.makedirs(self._scratch, exist_ok=True)
        if self._local:
            for first in range(256):
                self._fs.makedirs(f"{self._chunks}/{first:02x}", exist_ok=True)
            _sync_directory(self._chunks)

    async def put(self, digest: str, data: bytes | bytearray) -> None:
        """Keep a chunk; it is on disk when this returns.

        Raises:
            DataLossError: the bytes have another digest.
            ExhaustedError: the store is full; nothing is left of the chunk.
        """
        found = await asyncio.to_thread(sha256, data)
        if found != digest:
            raise DataLossError(f"chunk {digest}: expected that sha256, got {found} for {len(data)} bytes")
        if (await self.sizes([digest]))[digest] != len(data):
            await asyncio.to_thread(self._write, self._path(digest), data)
            self._doubted.discard(digest)

    def _write(self, path: str, data: bytes | bytearray) -> None:
        scratch = f"{self._scratch}/{uuid.uuid4().hex}"
        try:
            with self._fs.open(scratch, "wb") as out:
                out.write(data)
                if self._local:
                    out.flush()
                    os.fsync(out.fileno())
            self._fs.makedirs(os.path.dirname(path), exist_ok=True)
            self._fs.mv(scratch, path)
            if self._local:
                _sync_directory(os.path.dirname(path))
        except OSError as error:
            if self._fs.exists(scratch):
                self._fs.rm_file(scratch)
            raise no_room(error, len(data)) or error from error

    async def sizes(self, digests: Iterable[str]) -> dict[str, int | None]:
        """The bytes of each chunk, None for one that is not here or known to be damaged."""
        paths = {digest: self._path(digest) for digest in digests}
        asked = list(paths.values())
        slices = [asked[n::_QUESTIONS] for n in range(min(_QUESTIONS, len(asked)))]
        found: dict[str, int | None] = {}
        for answer in await asyncio.gather(*(asyncio.to_thread(self._sizes, part) for part in slices)):
            found |= answer
        return {d: None if d in self._doubted else found[path] for d, path in paths.items()}

    def _sizes(self, paths: list[str]) -> dict[str, int | None]:
        return {path: self._size(path) for path in paths}

    def _size(self, path: str) -> int | None:
        try:
            return int(self._fs.size(path))
        except FileNotFoundError:
            return None

    def doubt(self, digest: str) -> None:
        """Say that a chunk is damaged: it counts as missing, so that the next push brings and keeps it anew."""
        self._doubted.add(digest)

    async def get(self, digest: str) -> bytes:
        """Return a chunk, verified.

        Raises:
            NotFoundError: it is not here.
            DataLossError: what is here has another digest.
        """
        try:
            data: bytes = await asyncio.to_thread(self._fs.cat_file, self._path(digest))
        except FileNotFoundError:
            raise NotFoundError(f"chunk {digest}: not in the artifact store") from None
        if await asyncio.to_thread(sha256, data) != digest:
            self.doubt(digest)
            raise DataLossError(f"chunk {digest}: the stored bytes have another sha256; push the version again")
        self._doubted.discard(digest)
        return data


def _sync_directory(path: str) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
