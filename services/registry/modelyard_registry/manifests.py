"""Manifests: checked when they come in, kept as chunks, and laid out as files when something must read them."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

from modelyard import codec
from modelyard.catalogue import CHUNK_SIZE_BYTES, Manifest
from modelyard.errors import DataLossError, InvalidInputError
from modelyard_registry.store import ChunkStore, check_digest, sha256


def check_manifest(manifest: Manifest) -> None:
    """Raise InvalidInputError unless paths are relative and distinct and sizes agree with the chunks."""
    if not manifest.files:
        raise InvalidInputError("manifest: expected at least one file, got none")
    if manifest.chunk_size_bytes != CHUNK_SIZE_BYTES:
        raise InvalidInputError(
            f"manifest: expected chunk_size_bytes {CHUNK_SIZE_BYTES}, got {manifest.chunk_size_bytes}"
        )
    paths = [f.path for f in manifest.files]
    if len(set(paths)) != len(paths):
        raise InvalidInputError("manifest: expected distinct paths, got one twice")
    for file in manifest.files:
        _check_path(file.path)
        expected = -(-file.size_bytes // manifest.chunk_size_bytes)
        if file.size_bytes < 0 or len(file.chunks) != expected:
            raise InvalidInputError(
                f"manifest: file {file.path!r} of {file.size_bytes} bytes: expected {expected} chunks, "
                f"got {len(file.chunks)}"
            )
        for digest in file.chunks:
            check_digest(digest)


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not path or "\0" in path or "\\" in path or any(p in {"", ".", ".."} for p in parts):
        raise InvalidInputError(f"manifest: expected a relative path without '..', got {path!r}")


async def check_chunks(store: ChunkStore, manifest: Manifest) -> None:
    """Raise DataLossError unless every chunk is in the store with the size that the manifest gives it."""
    for digest, size_bytes in manifest.chunk_sizes().items():
        found = await store.size(digest)
        if found != size_bytes:
            got = "nothing" if found is None else f"{found} bytes"
            raise DataLossError(f"chunk {digest}: expected {size_bytes} bytes in the store, got {got}")


async def save_manifest(store: ChunkStore, manifest: Manifest) -> str:
    """Keep the manifest as a chunk; return its digest."""
    data = codec.encode(manifest)
    digest = sha256(data)
    await store.put(digest, data)
    return digest


async def load_manifest(store: ChunkStore, digest: str) -> Manifest:
    """Return a kept manifest."""
    return codec.decode(Manifest, await store.get(digest))


async def lay_out(store: ChunkStore, manifest: Manifest, directory: Path) -> None:
    """Write the files of a manifest below a directory, one chunk in memory at a time."""
    for file in manifest.files:
        target = directory / PurePosixPath(file.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            for digest in file.chunks:
                await asyncio.to_thread(out.write, await store.get(digest))
