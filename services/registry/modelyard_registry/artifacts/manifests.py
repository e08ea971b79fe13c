"""Manifests: checked when they come in, kept as chunks, and laid out as files when something must read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from modelyard import codec
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.store import ChunkStore, check_digest, no_room, sha256

MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255


def check_manifest(manifest: Manifest) -> None:
    """Raise InvalidInputError unless the paths can be files of one directory and sizes agree with the chunks."""
    if not manifest.files:
        raise InvalidInputError("manifest: expected at least one file, got none")
    if manifest.chunk_size_bytes != CHUNK_SIZE_BYTES:
        raise InvalidInputError(
            f"manifest: expected chunk_size_bytes {CHUNK_SIZE_BYTES}, got {manifest.chunk_size_bytes}"
        )
    for file in manifest.files:
        _check_path(file.path)
        _check_chunk_count(file)
        for digest in file.chunks:
            check_digest(digest)
    _check_distinct([f.path for f in manifest.files])
    _check_sizes(manifest)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise InvalidInputError(
            f"manifest: expected a path of at most {MAX_PATH_BYTES} bytes, {MAX_PART_BYTES} a part; got {path[:64]!r}"
        )
    if "\0" in path or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise InvalidInputError(f"manifest: expected a relative path without '..', got {path!r}")


def _check_chunk_count(file: File) -> None:
    expected = -(-file.size_bytes // CHUNK_SIZE_BYTES)
    if file.size_bytes < 0 or len(file.chunks) != expected:
        raise InvalidInputError(
            f"manifest: file {file.path!r} of {file.size_bytes} bytes: expected {max(expected, 0)} chunks, "
            f"got {len(file.chunks)}"
        )


def _check_distinct(paths: list[str]) -> None:
    taken = set(paths)
    if len(taken) != len(paths):
        raise InvalidInputError("manifest: expected distinct paths, got one twice")
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if str(parent) in taken:
                raise InvalidInputError(f"manifest: {str(parent)!r}: expected a file or a directory, got both")


def _check_sizes(manifest: Manifest) -> None:
    sizes = manifest.chunk_sizes()
    for file in manifest.files:
        for index, digest in enumerate(file.chunks):
            if sizes[digest] != min(CHUNK_SIZE_BYTES, file.size_bytes - index * CHUNK_SIZE_BYTES):
                raise InvalidInputError(f"manifest: chunk {digest}: expected one size wherever it is used, got two")


async def check_chunks(store: ChunkStore, manifest: Manifest) -> None:
    """Raise DataLossError unless every chunk is in the store with the size that the manifest gives it."""
    wanted = manifest.chunk_sizes()
    found = await store.sizes(wanted)
    for digest, size_bytes in wanted.items():
        if found[digest] != size_bytes:
            store.doubt(digest)
            got = "nothing" if found[digest] is None else f"{found[digest]} bytes"
            raise DataLossError(f"chunk {digest}: expected {size_bytes} bytes in the store, got {got}")


async def save_manifest(store: ChunkStore, manifest: Manifest) -> str:
    """Keep the manifest as a chunk, its files sorted by path; return its digest."""
    files = sorted(manifest.files, key=lambda file: file.path)
    data = codec.encode(Manifest(tuple(files), manifest.chunk_size_bytes))
    digest = sha256(data)
    await store.put(digest, data)
    return digest


async def load_manifest(store: ChunkStore, digest: str) -> Manifest:
    """Return a kept manifest.

    Raises:
        NotFoundError: no chunk has that digest, or it is not a manifest.
        DataLossError: the stored bytes have another digest.
    """
    try:
        return codec.decode(Manifest, await store.get(digest))
    except msgspec.DecodeError:
        raise NotFoundError(f"chunk {digest}: not a manifest") from None


async def lay_out(store: ChunkStore, manifest: Manifest, directory: Path, looked_at: Callable[[str], int]) -> None:
    """Write the files below a directory, one chunk in memory at a time: as many bytes as are looked at, and the size.

    Raises:
        DataLossError: a chunk is damaged, or gone.
        ExhaustedError: the disk is full.
    """
    for file in manifest.files:
        target = directory / PurePosixPath(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as out:
                out.truncate(file.size_bytes)
                left = min(looked_at(file.path), file.size_bytes)
                for digest in file.chunks[: -(-left // CHUNK_SIZE_BYTES)]:
                    left -= await asyncio.to_thread(out.write, (await store.get(digest))[:left])
        except OSError as error:
            raise no_room(error, file.size_bytes) or error from error
        except NotFoundError as error:
            raise DataLossError(error.message) from error
