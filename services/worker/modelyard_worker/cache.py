"""Artifacts on this machine, by the digest of their manifest.

{directory}/{manifest digest}/files…         whole and verified; when the directory was changed last is when it was used
{directory}/.sizes-{manifest digest}         JSON: the size of each of them
{directory}/.pull-{manifest digest}/files…   on their way: what is whole of them stays when a pull breaks off
{directory}/.gone-{manifest digest}/files…   on their way out
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol
from weakref import WeakValueDictionary

from modelyard import codec
from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError, ExhaustedError
from modelyard.growing import GrowingFile
from modelyard.tasks import to_its_end
from modelyard_worker import storage
from modelyard_worker.storage import GONE, SIZES, UNFINISHED

log = logging.getLogger(__name__)

KEEP_S = 86_400.0
"""How long after its last attempt a pull may go on where it was."""
DEFAULT_LIMIT_BYTES = 20 << 30
FULL = (errno.ENOSPC, errno.EDQUOT)


class Source(Protocol):
    """Where artifacts come from."""

    async def manifest(self, digest: str) -> Manifest:
        """Return a manifest."""
        ...

    def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        """The bytes of these chunks in their order, in pieces, none of which is of two chunks."""
        ...


class ArtifactCache:
    """Pulls each artifact once, however many ask for it at the same time; removes what is not used for longest."""

    def __init__(self, directory: Path, source: Source, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        """Keep at most `limit_bytes`, and more only where that much is in use."""
        self._directory = directory
        self._source = source
        self._limit_bytes = limit_bytes
        self._pulls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._coming: dict[str, int] = {}
        self._held: Counter[str] = Counter()
        self._making_room = asyncio.Lock()

    @contextlib.contextmanager
    def held(self, manifest_digest: str) -> Iterator[None]:
        """Keep an artifact here, once it is here, until the scope ends."""
        self._held[manifest_digest] += 1
        try:
            yield
        finally:
            self._held[manifest_digest] -= 1
            self._held += Counter()  # drops what nobody holds

    async def path(self, manifest_digest: str) -> Path:
        """Return the directory of an artifact's files, pulling them if they are not here whole. Hold it meanwhile.

        Raises:
            DataLossError: a chunk arrived with another digest, or a file would lie outside the artifact.
            ExhaustedError: the disk is full, and all that is on it is in use.
            UnavailableError: no registry answers.
            OSError: the disk.
        """
        place = self._directory / manifest_digest
        async with self._pulls.setdefault(manifest_digest, asyncio.Lock()):
            async with self._making_room:  # or it might go between this look and its use
                whole = await to_its_end(lambda: self._is_whole(place))
            if not whole:
                await self._pull(manifest_digest, place)
            storage.touch(place)
        return place

    def _is_whole(self, place: Path) -> bool:
        """Whether all files are there in their sizes; if they are not, they are left to be verified and mended."""
        if not place.is_dir():
            return False
        sizes = self._directory / f"{SIZES}{place.name}"
        if not sizes.exists():  # of a release that did not write them
            return True
        with contextlib.suppress(codec.MalformedError, OSError):
            expected = codec.decode(dict[str, int], sizes.read_bytes())
            if all((place / path).stat().st_size == size_bytes for path, size_bytes in expected.items()):
                return True
        log.warning("artifact damaged, pulling what is missing", extra={"manifest": place.name})
        unfinished = self._unfinished(place.name)
        if unfinished.exists():
            shutil.rmtree(unfinished)
        place.rename(unfinished)
        return False

    async def _pull(self, digest: str, place: Path) -> None:
        manifest = await self._source.manifest(digest)
        unfinished = self._unfinished(digest)
        unfinished.mkdir(parents=True, exist_ok=True)
        storage.touch(unfinished)
        self._coming[digest] = sum(file.size_bytes for file in manifest.files)
        try:
            await self._make_room()
            for file in manifest.files:
                await self._pull_file(file, _inside(unfinished, file.path), manifest.chunk_size_bytes)
        except OSError as error:
            if error.errno in FULL:
                raise storage.disk_full(self._directory, str(error)) from error
            raise
        finally:
            del self._coming[digest]
        sizes = {file.path: file.size_bytes for file in manifest.files}
        (self._directory / f"{SIZES}{digest}").write_bytes(codec.encode(sizes))
        unfinished.rename(place)

    async def _pull_file(self, file: File, target: Path, chunk_size_bytes: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:  # whoever is cancelled leaves no thread behind that still writes here
            growing = await to_its_end(lambda: opened.enter_context(GrowingFile(target, file, chunk_size_bytes)))
            if growing.waiting:
                async with contextlib.aclosing(self._source.pieces(list(growing.waiting))) as pieces:
                    await growing.receive(pieces, lambda _: None)
                await to_its_end(growing.sync)  # a name in the cache promises whole files

    async def trim(self) -> None:
        """Remove what is more than the limit, now that something is no longer in use."""
        try:
            await self._make_room()
        except (ExhaustedError, OSError) as error:
            log.warning("artifact cache not trimmed", extra={"reason": str(error)})

    async def _make_room(self) -> None:
        async with self._making_room:
            spared = {*self._held, *self._coming}
            await to_its_end(lambda: storage.make_room(self._directory, self._limit_bytes, self._missing(), spared))

    def _missing(self) -> int:
        """How many bytes are yet to come."""
        coming = self._coming.copy().items()
        return sum(max(0, size_bytes - storage.size_of(self._unfinished(digest))) for digest, size_bytes in coming)

    def clean(self) -> None:
        """Remove what was half pulled and is not gone on with, and what was half removed."""
        for gone in self._directory.glob(f"{GONE}*"):
            shutil.rmtree(gone)
        for leftover in self._directory.glob(f"{UNFINISHED}*"):
            if time.time() - leftover.stat().st_mtime > KEEP_S:
                shutil.rmtree(leftover)

    def _unfinished(self, digest: str) -> Path:
        return self._directory / f"{UNFINISHED}{digest}"


def _inside(directory: Path, path: str) -> Path:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataLossError(f"{path!r}: expected a path inside the artifact")
    return directory / relative
