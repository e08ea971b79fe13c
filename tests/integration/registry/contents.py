"""What a store and a catalogue hold, for tests of collection: made of small chunks, in this process."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from pathlib import Path

from modelyard import codec, keys
from modelyard.catalogue import File, Lifecycle, Manifest, Model, Resources, Signature, Version
from modelyard.etcd import Etcd
from modelyard_registry.artifacts.manifests import digest_of, load_manifest, save_manifest
from modelyard_registry.artifacts.store import DIRECTORIES, ChunkStore, sha256


def chunk(*seed: object) -> bytes:
    """Some bytes, the same for the same seed."""
    return random.Random(str(seed)).randbytes(100)


def manifest(chunks: Iterable[bytes]) -> Manifest:
    """A file a chunk."""
    return Manifest(tuple(File(f"f{n}", len(data), (sha256(data),)) for n, data in enumerate(chunks)))


def version(model: str, name: str, chunks: Iterable[bytes]) -> Version:
    """A version of these chunks."""
    files = manifest(chunks)
    return Version(model, name, "onnx", Signature(), Resources(), digest_of(files), files.size_bytes)


class Contents:
    """A store, and the catalogue that refers to it."""

    def __init__(self, etcd: Etcd, store: ChunkStore) -> None:
        self.etcd = etcd
        self.store = store

    async def put(self, *chunks: bytes) -> list[str]:
        """Keep chunks; return their digests."""
        await asyncio.gather(*(self.store.put(sha256(data), data) for data in chunks))
        return [sha256(data) for data in chunks]

    async def publish(self, model: str, name: str, *chunks: bytes) -> list[str]:
        """Keep a version; return the digests of its chunks and its manifest."""
        digests = await self.put(*chunks)
        digests.append(await save_manifest(self.store, manifest(chunks)))
        await self.etcd.put(keys.model(model), codec.encode(Model(model)))
        await self.etcd.put(keys.version(model, name), codec.encode(version(model, name, chunks)))
        return digests

    async def delete(self, model: str, name: str, *chunks: bytes, ago_s: float = 1.0) -> None:
        """Make a version DELETED, its grace period over for so long."""
        found = version(model, name, chunks)
        gone = codec.encode(_expired(found, time.time() - ago_s))
        await self.etcd.put(keys.version(model, name), gone)

    async def delete_model(self, model: str, ago_s: float = 1.0) -> None:
        """Make a model DELETED, its grace period over for so long."""
        record = Model(model, state=Lifecycle.DELETED, expire_time_s=time.time() - ago_s)
        await self.etcd.put(keys.model(model), codec.encode(record))

    async def chunks(self) -> set[str]:
        """Every chunk that is there."""
        return {digest for first in DIRECTORIES for digest, _ in await self.store.chunks(first)}

    async def referred_to(self) -> set[str]:
        """Every chunk that a version refers to; each is read, which verifies it."""
        found: set[str] = set()
        for key, kv in (await self.etcd.list(keys.MODELS)).items.items():
            if "/versions/" in key:
                digest = codec.decode(Version, kv.value).manifest_digest
                found |= {digest, *(await load_manifest(self.store, digest)).chunk_sizes()}
        for digest in found:
            await self.store.get(digest)
        return found


async def new_contents(etcd: Etcd, directory: Path) -> Contents:
    """A store in a directory."""
    store = ChunkStore(str(directory), "registry-0")
    await store.prepare()
    return Contents(etcd, store)


def _expired(found: Version, expire_time_s: float) -> Version:
    return Version(
        found.model,
        found.version,
        found.format,
        found.signature,
        found.resources,
        found.manifest_digest,
        found.size_bytes,
        state=Lifecycle.DELETED,
        expire_time_s=expire_time_s,
    )
