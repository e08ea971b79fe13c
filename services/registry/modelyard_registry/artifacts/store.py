"""Chunks by their sha256, behind fsspec: a local directory, or any store fsspec knows.

Both keep a chunk at chunks/{first two hex digits}/{digest}, whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard.names import check_name
from modelyard.tasks import to_its_end
from modelyard_registry.artifacts.bucket import Bucket
from modelyard_registry.artifacts.directory import DIGEST, Directory
from modelyard_registry.artifacts.scratch import ChunkFile, ScratchFile

DIRECTORIES = tuple(f"{first:02x}" for first in range(256))
"""How digests may begin."""
WHOLE = 4
"""So many chunks at a time are moved, or verified, as a whole."""
T = TypeVar("T")


def check_digest(digest: str) -> str:
    """Return the digest, or raise InvalidInputError."""
    if not DIGEST.match(digest):
        raise InvalidInputError(f"chunk digest: expected 64 hex digits of a sha256, got {digest[:80]!r}")
    return digest


def sha256(data: bytes | bytearray) -> str:
    """The digest of a chunk, in hex."""
    return hashlib.sha256(data).hexdigest()


def _opened(url: str, owner: str) -> Directory | Bucket:
    """What keeps the chunks. That of S3 is imported where it is asked for: s3fs need not be installed."""
    try:
        protocol = fsspec.utils.get_protocol(url)
        if issubclass(fsspec.get_filesystem_class(protocol), LocalFileSystem):
            fs, root = fsspec.core.url_to_fs(url)
            return Directory(fs, root.rstrip("/"), owner)
        if protocol in {"s3", "s3a"}:
            return importlib.import_module("modelyard_registry.artifacts.s3").S3Bucket(url)  # type: ignore[no-any-return]
        return Bucket(url)
    except (ImportError, ValueError) as error:
        raise InvalidInputError(f"artifact store {url}: {error}") from error


class ChunkStore:
    """A content-addressed store of chunks. Blocking I/O runs in threads."""

    def __init__(self, url: str, owner: str) -> None:
        """`url`: a directory, or an fsspec URL such as s3://bucket/prefix; `owner`: unique among those who write.

        Raises:
            InvalidInputError: there is no such kind of store, or what it needs is not installed.
        """
        self._kept = _opened(url, check_name("registry", owner))
        self._threads = ThreadPoolExecutor(self._kept.questions, "store")
        self._checks = ThreadPoolExecutor(1, "store-check")  # one that hangs holds up only the next one
        self._doubted: set[str] = set()
        self._whole = asyncio.Semaphore(WHOLE)

    @property
    def scratch_directory(self) -> str | None:
        """Where temporary files may be put so that they do not outlive the owner's next start; None: not here."""
        return self._kept.scratch

    async def prepare(self) -> None:
        """Create the store and drop what an earlier process left unfinished.

        Raises:
            OSError: the directory cannot be used.
            PreconditionError: the remote store refuses us.
            UnavailableError: it does not answer.
        """
        await asyncio.to_thread(self._kept.prepare)

    async def check(self) -> None:
        """Return if the store can be used.

        Raises:
            OSError: the directory is gone, or cannot be written.
            UnavailableError: the remote store does not answer.
            PreconditionError: it refuses us.
        """
        await asyncio.get_running_loop().run_in_executor(self._checks, self._kept.check)

    async def put(self, digest: str, data: bytes | bytearray) -> None:
        """Keep a chunk; it is on disk when this returns.

        Raises:
            DataLossError: the bytes have another digest.
            ExhaustedError: the store is full; nothing is left of the chunk.
        """
        _check_sha256(digest, await asyncio.to_thread(sha256, data), len(data))
        if (await self.sizes([digest]))[digest] != len(data):
            await asyncio.to_thread(self._kept.write, digest, data)
            self._doubted.discard(digest)

    async def keep(self, digest: str, scratch: ScratchFile) -> None:
        """Keep a chunk that was written to a file of ours; it is on disk when this returns.

        Raises:
            DataLossError: the file has another digest.
            ExhaustedError: the store is full.
        """
        _check_sha256(digest, scratch.sha256(), scratch.size_bytes)
        if (await self.sizes([digest]))[digest] != scratch.size_bytes:
            async with self._whole:
                await asyncio.to_thread(self._kept.take, digest, scratch)
            self._doubted.discard(digest)

    async def sizes(self, digests: Iterable[str]) -> dict[str, int | None]:
        """The bytes of each chunk, None for one that is not here or known to be damaged."""
        asked = list(dict.fromkeys(check_digest(digest) for digest in digests))
        parts = [asked[n :: self._kept.questions] for n in range(min(self._kept.questions, len(asked)))]
        loop = asyncio.get_running_loop()
        found: dict[str, int | None] = {}
        for answer in await asyncio.gather(*(loop.run_in_executor(self._threads, self._sizes, p) for p in parts)):
            found |= answer
        return {digest: None if digest in self._doubted else found[digest] for digest in asked}

    def _sizes(self, digests: list[str]) -> dict[str, int | None]:
        return {digest: self._kept.size(digest) for digest in digests}

    async def chunks(self, first: str) -> list[tuple[str, int]]:
        """The chunks whose digests begin with these two hex digits, each with its bytes."""
        return await asyncio.to_thread(self._kept.chunks, first)

    async def remove(self, digests: Sequence[str], check: Callable[[], None]) -> Sequence[str]:
        """Remove chunks; return those that were there.

        `check` is called, in another thread, right before each step that cannot be undone, and ends this by raising.
        Whoever cancels this waits for the step under way: nothing is removed after it.
        """
        for digest in digests:
            check_digest(digest)
        try:
            return await to_its_end(partial(self._kept.remove, digests, check))
        finally:
            self._doubted.difference_update(digests)

    def doubt(self, digest: str) -> None:
        """Say that a chunk is damaged: it counts as missing, so that the next push brings and keeps it anew."""
        self._doubted.add(digest)

    async def get(self, digest: str) -> bytes:
        """Return a chunk, verified.

        Raises:
            NotFoundError: it is not here.
            DataLossError: what is here has another digest.
        """
        data = await self._found(self._kept.read, digest)
        self._check_stored(digest, await asyncio.to_thread(sha256, data))
        return data

    async def open(self, digest: str, *, verified: bool = True) -> ChunkFile:
        """Return a chunk as a file, of which no more is in memory than what is read; close it.

        Raises:
            NotFoundError: it is not here.
            DataLossError: what is here has another digest, which only who does not want it verified never hears.
        """
        async with self._whole:
            chunk = await self._found(self._kept.open, digest)
            if not verified:
                return chunk
            try:
                self._check_stored(digest, await asyncio.to_thread(chunk.sha256))
            except BaseException:
                chunk.close()
                raise
        return chunk

    async def open_named(self, digest: str) -> ChunkFile:
        """As `open`, of a chunk that a manifest names: where it is gone too, raise DataLossError."""
        try:
            return await self.open(digest)
        except NotFoundError as error:
            raise DataLossError(error.message) from error

    async def _found(self, read: Callable[[str], T], digest: str) -> T:
        try:
            return await asyncio.to_thread(read, check_digest(digest))
        except FileNotFoundError:
            raise NotFoundError(f"chunk {digest}: not in the artifact store") from None

    def _check_stored(self, digest: str, found: str) -> None:
        if found != digest:
            self.doubt(digest)
            raise DataLossError(f"chunk {digest}: the stored bytes have another sha256; push the version again")
        self._doubted.discard(digest)


def _check_sha256(digest: str, found: str, size_bytes: int) -> None:
    if found != digest:
        raise DataLossError(f"chunk {digest}: expected that sha256, got {found} for {size_bytes} bytes")
