"""Chunks by their sha256, behind fsspec: a local directory, or any store fsspec knows.

Layout: chunks/{first two hex digits}/{digest}. A chunk appears whole or not at all: it is written beside its place
and moved there.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import uuid

import fsspec

from modelyard.errors import DataLossError, ExhaustedError, InvalidInputError, NotFoundError

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_FULL = {errno.ENOSPC, errno.EDQUOT}


def check_digest(digest: str) -> str:
    """Return the digest, or raise InvalidInputError."""
    if not _DIGEST.match(digest):
        raise InvalidInputError(f"chunk digest: expected 64 hex digits of a sha256, got {digest!r}")
    return digest


def sha256(data: bytes) -> str:
    """The digest of a chunk, in hex."""
    return hashlib.sha256(data).hexdigest()


class ChunkStore:
    """A content-addressed store of chunks. Blocking I/O runs in threads."""

    def __init__(self, url: str) -> None:
        """`url`: a directory, or an fsspec URL such as s3://bucket/prefix."""
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = root.rstrip("/")

    def _path(self, digest: str) -> str:
        return f"{self._root}/chunks/{check_digest(digest)[:2]}/{digest}"

    async def prepare(self) -> None:
        """Create the store's root; raise OSError where that is not possible."""
        await asyncio.to_thread(self._fs.makedirs, f"{self._root}/chunks", exist_ok=True)

    async def put(self, digest: str, data: bytes) -> None:
        """Keep a chunk.

        Raises:
            DataLossError: the bytes have another digest.
            ExhaustedError: the store is full; nothing is left of the chunk.
        """
        found = await asyncio.to_thread(sha256, data)
        if found != digest:
            raise DataLossError(f"chunk {digest}: expected that sha256, got {found} for {len(data)} bytes")
        if await self.size(digest) != len(data):
            await asyncio.to_thread(self._write, self._path(digest), data)

    def _write(self, path: str, data: bytes) -> None:
        scratch = f"{path}.{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(os.path.dirname(path), exist_ok=True)
            self._fs.pipe_file(scratch, data)
            self._fs.mv(scratch, path)
        except OSError as error:
            if self._fs.exists(scratch):
                self._fs.rm_file(scratch)
            if error.errno in _FULL:
                raise ExhaustedError(f"artifact store is full: {len(data)} bytes could not be kept") from error
            raise

    async def size(self, digest: str) -> int | None:
        """The bytes of a chunk, None if it is not here."""
        try:
            return int(await asyncio.to_thread(self._fs.size, self._path(digest)))
        except FileNotFoundError:
            return None

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
            raise DataLossError(f"chunk {digest}: the stored bytes have another sha256")
        return data
