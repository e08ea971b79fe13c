"""Manifests: checked when they come in, and kept as chunks."""

from __future__ import annotations

import contextlib

import msgspec

from modelyard import codec
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard_registry.artifacts.store import ChunkStore, check_digest, sha256
from modelyard_registry.characters import misleads

MAX_FILES = 100_000
"""So many files and directories an artifact may have."""
MAX_PATH_BYTES = 1024
MAX_PART_BYTES = 255


def check_manifest(manifest: Manifest) -> None:
    """Raise InvalidInputError unless the paths can be files of one directory and sizes agree with the chunks."""
    if not manifest.files:
        raise InvalidInputError("manifest: expected at least one file, got none")
    if len(manifest.files) > MAX_FILES:
        raise InvalidInputError(f"manifest: expected at most {MAX_FILES} files, got {len(manifest.files)}")
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
    if misleads(path):
        raise InvalidInputError(f"manifest: expected a path without control characters, got {path[:64]!r}")
    parts = path.split("/")
    if len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise InvalidInputError(
            f"manifest: expected a path of at most {MAX_PATH_BYTES} bytes, {MAX_PART_BYTES} a part; got {path[:64]!r}"
        )
    if "\\" in path or any(part in {"", ".", ".."} for part in parts):
        raise InvalidInputError(f"manifest: expected a relative path without '..', got {path!r}")


def _check_chunk_count(file: File) -> None:
    expected = -(-file.size_bytes // CHUNK_SIZE_BYTES)
    if file.size_bytes < 0 or len(file.chunks) != expected:
        raise InvalidInputError(
            f"manifest: file {file.path!r} of {file.size_bytes} bytes: expected {max(expected, 0)} chunks, "
            f"got {len(file.chunks)}"
        )


def _check_distinct(paths: list[str]) -> None:
    files = set(paths)
    if len(files) != len(paths):
        raise InvalidInputError("manifest: expected distinct paths, got one twice")
    directories = _directories(paths)
    if both := files & directories:
        raise InvalidInputError(f"manifest: {min(both)!r}: expected a file or a directory, got both")


def _directories(paths: list[str]) -> set[str]:
    """All directories that the files are in; each is come by once, and no more of them than are allowed."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
        if len(paths) + len(found) > MAX_FILES:
            raise InvalidInputError(f"manifest: expected at most {MAX_FILES} files and directories, got more")
    return found


def _check_sizes(manifest: Manifest) -> None:
    sizes = manifest.chunk_sizes()
    for file in manifest.files:
        for index, digest in enumerate(file.chunks):
            if sizes[digest] != min(CHUNK_SIZE_BYTES, file.size_bytes - index * CHUNK_SIZE_BYTES):
                raise InvalidInputError(f"manifest: chunk {digest}: expected one size wherever it is used, got two")


async def check_chunks(store: ChunkStore, manifest: Manifest) -> None:
    """Check that every chunk is in the store with the size that the manifest gives it.

    Raises:
        DataLossError: one is not there, or what is there is damaged.
        InvalidInputError: one is there whole, and has another size.
    """
    wanted = manifest.chunk_sizes()
    found = await store.sizes(wanted)
    for digest, size_bytes in wanted.items():
        if found[digest] != size_bytes:
            await _check_chunk(store, digest, size_bytes)


async def _check_chunk(store: ChunkStore, digest: str, size_bytes: int) -> None:
    """As `check_chunks`, by the bytes themselves: what a manifest says of a chunk is no reason to doubt it."""
    try:
        chunk = await store.open(digest)
    except NotFoundError:
        raise DataLossError(f"chunk {digest}: expected {size_bytes} bytes in the store, got nothing") from None
    with contextlib.closing(chunk):
        if chunk.size_bytes != size_bytes:
            raise InvalidInputError(
                f"manifest: chunk {digest}: expected {chunk.size_bytes} bytes, as the store has with that sha256, "
                f"got {size_bytes}"
            )


def _encoded(manifest: Manifest) -> bytes:
    """As it is kept: its files sorted by path."""
    files = sorted(manifest.files, key=lambda file: file.path)
    return codec.encode(Manifest(tuple(files), manifest.chunk_size_bytes))


def digest_of(manifest: Manifest) -> str:
    """The digest of the chunk that a manifest is kept as."""
    return sha256(_encoded(manifest))


async def save_manifest(store: ChunkStore, manifest: Manifest) -> str:
    """Keep the manifest as a chunk; return its digest."""
    data = _encoded(manifest)
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
