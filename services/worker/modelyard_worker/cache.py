"""Artifacts on this machine, by the digest of their manifest.

Layout: {directory}/{manifest digest}/files…; a directory of that name is whole and verified. It is built beside its
place and renamed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from modelyard.catalogue import File, Manifest
from modelyard.errors import DataLossError


class Source(Protocol):
    """Where artifacts come from."""

    async def manifest(self, digest: str) -> Manifest:
        """Return a manifest."""
        ...

    def pieces(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of a chunk, in pieces."""
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
        self._directory.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".pull-", dir=self._directory))
        try:
            for file in (await self._source.manifest(digest)).files:
                await self._pull_file(file, _inside(scratch, file.path))
            scratch.rename(place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    async def _pull_file(self, file: File, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            for digest in file.chunks:
                found = hashlib.sha256()
                async for piece in self._source.pieces(digest):
                    found.update(piece)
                    out.write(piece)
                if found.hexdigest() != digest:
                    raise DataLossError(f"{file.path}: expected chunk {digest}, got {found.hexdigest()}")
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())  # a name in the cache promises whole files

    def clean(self) -> None:
        """Remove what an earlier process left half pulled."""
        for leftover in self._directory.glob(".pull-*"):
            shutil.rmtree(leftover)


def _inside(directory: Path, path: str) -> Path:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataLossError(f"{path!r}: expected a path inside the artifact")
    return directory / relative
