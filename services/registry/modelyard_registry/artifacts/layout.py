"""Artifacts as files on the scratch disk, as far as something must read them there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import InvalidInputError
from modelyard.tasks import to_its_end
from modelyard_registry.artifacts.failures import no_room
from modelyard_registry.artifacts.scratch import ChunkFile
from modelyard_registry.artifacts.store import ChunkStore

COPIES_BYTES = 2 << 30
"""So much is written beyond the bytes of the distinct chunks, for artifacts whose files have chunks in common."""


@dataclass(frozen=True)
class _Place:
    """Where the beginning of a chunk belongs."""

    path: Path
    offset: int
    size_bytes: int


@contextlib.asynccontextmanager
async def scratch_directory(parent: str | None) -> AsyncIterator[Path]:
    """A directory that is removed at the end; that may take long, and does not hold others up."""
    directory = tempfile.TemporaryDirectory(dir=parent)
    try:
        yield Path(directory.name)
    finally:
        await to_its_end(directory.cleanup)


async def lay_out(store: ChunkStore, manifest: Manifest, directory: Path, looked_at: Callable[[str], int]) -> None:
    """Write the files below a directory: as many bytes as are looked at, and the size; no chunk is in memory whole.

    What takes 8 MiB and is there twice in one file are weights, which nobody looks at: a chunk is written where a file
    has it first, and leaves a hole, which reads as zeros, where it has it again.

    Raises:
        InvalidInputError: more bytes would be written than the distinct chunks have, and 2 GiB for copies.
        DataLossError: a chunk is damaged, or gone.
        ExhaustedError: the disk is full.
    """
    places = _places(manifest, directory, looked_at)
    _check_extent(manifest, places)
    await to_its_end(partial(_create, manifest, directory))
    for digest, wanted in places.items():
        with contextlib.closing(await store.open_named(digest)) as chunk:
            await to_its_end(partial(_write, chunk, wanted))


def _places(manifest: Manifest, directory: Path, looked_at: Callable[[str], int]) -> dict[str, list[_Place]]:
    """Where each chunk of which anything is looked at belongs."""
    places: dict[str, list[_Place]] = {}
    for file in manifest.files:
        path, end = _target(directory, file), min(looked_at(file.path), file.size_bytes)
        first: dict[str, int] = {}
        for index, digest in enumerate(file.chunks[: -(-end // CHUNK_SIZE_BYTES)]):
            first.setdefault(digest, index * CHUNK_SIZE_BYTES)
        for digest, offset in first.items():
            size_bytes = min(CHUNK_SIZE_BYTES, end - offset)
            places.setdefault(digest, []).append(_Place(path, offset, size_bytes))
    return places


def _target(directory: Path, file: File) -> Path:
    return directory / PurePosixPath(file.path)


def _check_extent(manifest: Manifest, places: dict[str, list[_Place]]) -> None:
    allowed = sum(manifest.chunk_sizes().values()) + COPIES_BYTES
    extent = sum(place.size_bytes for wanted in places.values() for place in wanted)
    if extent > allowed:
        raise InvalidInputError(
            f"manifest: expected files of which {allowed} bytes or less must be read, which are those of the distinct "
            f"chunks and {COPIES_BYTES} for copies; got {extent}"
        )


def _create(manifest: Manifest, directory: Path) -> None:
    """Create all files, of their sizes and without a byte in them."""
    made: set[Path] = set()
    for file in manifest.files:
        target = _target(directory, file)
        with _room(file.size_bytes):
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            with target.open("wb") as out:
                out.truncate(file.size_bytes)


def _write(chunk: ChunkFile, places: list[_Place]) -> None:
    for place in places:
        with _room(place.size_bytes), place.path.open("r+b") as out:
            out.seek(place.offset)
            chunk.copy(out, place.size_bytes)


@contextlib.contextmanager
def _room(size_bytes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise no_room(error, size_bytes) or error from error
