"""Artifacts on this machine, by the digest of their manifest.

{directory}/{manifest digest}/files…         whole and verified
{directory}/.pull-{manifest digest}/files…   on their way: what is whole of them stays when a pull breaks off
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from modelyard.catalogue import File, Manifest
from modelyard.chunks import Chunk
from modelyard.errors import DataLossError
from modelyard.growing import GrowingFile

UNFINISHED = ".pull-"
KEEP_S = 86_400.0
"""How long after its last attempt a pull may go on where it was."""


class Source(Protocol):
    """Where artifacts come from."""

    async def manifest(self, digest: str) -> Manifest:
        """Return a manifest."""
        ...

    def pieces(self, chunks: Sequence[Chunk]) -> AsyncGenerator[bytes, None]:
        """The bytes of these chunks in their order, in pieces, none of which is of two chunks."""
        ...


class ArtifactCache:
    """Pulls each artifact once, however many ask for it at the same time."""

    def __init__(self, directory: Path, source: Source) -> None:
        self._directory = directory
        self._source = source
        self._pulls: dict[str, asyncio.Lock] = {}

    async def path(self, manifest_digest: str) -> Path:
        """Return the directory of an artifact's files, pulling them if they are not here.

        Raises:
            DataLossError: a chunk arrived with another digest, or a file would lie outside the artifact.
            UnavailableError: no registry answers.
            OSError: the disk.
        """
        place = self._directory / manifest_digest
        async with self._pulls.setdefault(manifest_digest, asyncio.Lock()):
            if not place.is_dir():
                await self._pull(manifest_digest, place)
        return place

    async def _pull(self, digest: str, place: Path) -> None:
        manifest = await self._source.manifest(digest)
        unfinished = self._directory / f"{UNFINISHED}{digest}"
        unfinished.mkdir(parents=True, exist_ok=True)
        os.utime(unfinished)
        for file in manifest.files:
            await self._pull_file(file, _inside(unfinished, file.path), manifest.chunk_size_bytes)
        unfinished.rename(place)

    async def _pull_file(self, file: File, target: Path, chunk_size_bytes: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with await asyncio.to_thread(GrowingFile, target, file, chunk_size_bytes) as growing:
            if growing.waiting:
                async with contextlib.aclosing(self._source.pieces(list(growing.waiting))) as pieces:
                    await growing.receive(pieces, lambda _: None)
                await asyncio.to_thread(growing.sync)  # a name in the cache promises whole files

    def clean(self) -> None:
        """Remove what was half pulled and is not gone on with."""
        for leftover in self._directory.glob(f"{UNFINISHED}*"):
            if time.time() - leftover.stat().st_mtime > KEEP_S:
                shutil.rmtree(leftover)


def _inside(directory: Path, path: str) -> Path:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataLossError(f"{path!r}: expected a path inside the artifact")
    return directory / relative
