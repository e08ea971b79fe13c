"""Pushes, deletions and collections at random, all at once, of few chunks: most pushes find some that are garbage.

At the end every version must be whole, and once nobody holds anything, nothing else is there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

from modelyard import keys
from modelyard.catalogue import Manifest, Model, Resources, Signature
from modelyard.errors import NotFoundError, PreconditionError
from modelyard.etcd import Delete, Etcd
from modelyard.names import ModelVersion
from modelyard.rpc.status import error_of
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.publisher import Draft, Publisher
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.artifacts.uploads import Uploads
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.formats.inspector import Inspector
from tests import models
from tests.integration.registry.contents import Contents, chunk, manifest
from tests.integration.registry.remote import RegistryServer, Remote, messages
from tests.integration.registry.remote import manifest as manifest_pb

POOL = [chunk("pool", n) for n in range(24)]
ONNX = models.mlp((4, 2)).SerializeToString()


class Unread(Inspector):
    """These artifacts are no models."""

    async def signature(self, format_name: str, directory: Path) -> Signature:
        return Signature()


class Replica:
    """The parts of a registry that matter here, on clients of its own."""

    def __init__(self, endpoint: str, directory: Path, name: str) -> None:
        self.etcd = Etcd(endpoint)
        self.store = ChunkStore(str(directory), name)
        holds = Holds(self.etcd)
        self.catalogue = Catalogue(self.etcd, grace_s=0.0)
        self.uploads = Uploads(holds, self.store)
        self.publisher = Publisher(self.catalogue.publications, self.store, Unread({}), holds)
        self.collector = Collector(self.etcd, self.store, name)
        self.collections = 0
        self.removed_chunks = 0

    async def push(self, dice: random.Random, upload: str) -> ModelVersion:
        chunks = {sha256(data): data for data in dice.sample(POOL, dice.randint(1, 5))}
        for digest in await self.uploads.missing(list(chunks), upload, "default"):
            await self.store.put(digest, chunks[digest])
        draft = Draft("m", "", "onnx", _manifest(chunks), Resources(), {}, "", "default", upload=upload)
        version = await self.publisher.create_version(draft)
        return ModelVersion(version.model, version.version)

    async def client(self, seed: str, enough: Callable[[], bool]) -> None:
        """Push again and again; delete about as much."""
        dice = random.Random(seed)
        mine: list[ModelVersion] = []
        while not enough():
            mine.append(await self.push(dice, f"{seed}-{dice.random()}"))
            while mine and dice.random() < 0.45:
                gone = mine.pop(dice.randrange(len(mine)))
                await self.catalogue.versions.delete(gone.model, gone.version, purge=dice.random() < 0.5)

    async def collect(self) -> None:
        """Collect again and again, until cancelled."""
        while True:
            try:
                self.removed_chunks += (await self.collector.collect()).removed_chunks
                self.collections += 1
            except PreconditionError:
                await asyncio.sleep(0.005)


def _manifest(chunks: dict[str, bytes]) -> Manifest:
    return manifest(chunks.values())


@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_on_two_replicas(etcd: Etcd, tmp_path: Path, seed: int) -> None:
    replicas = [Replica(etcd.endpoints, tmp_path, f"registry-{n}") for n in range(2)]
    for replica in replicas:
        await replica.store.prepare()
    await replicas[0].catalogue.models.register(Model("m"))
    collections = [asyncio.ensure_future(replica.collect()) for replica in replicas]

    def enough() -> bool:
        much = all(r.collections >= 5 for r in replicas) and sum(r.removed_chunks for r in replicas) > 100
        return much or any(collection.done() for collection in collections)  # that would be a failure

    clients = [replica.client(f"{seed}-{n}-{m}", enough) for n, replica in enumerate(replicas) for m in range(3)]
    try:
        await asyncio.gather(*clients)
    finally:
        for collection in collections:
            collection.cancel()
        await asyncio.wait(collections)
    assert all(collection.cancelled() for collection in collections)
    await check_the_end(Contents(etcd, replicas[0].store), replicas[0])
    for replica in replicas:
        await replica.etcd.close()


async def check_the_end(contents: Contents, replica: Replica) -> None:
    assert await contents.etcd.keys(keys.HOLDS) == []
    await contents.etcd.commit([], [Delete(keys.PREFIX + "collection/", prefix=True)])
    await replica.collector.collect()
    assert await contents.chunks() == await contents.referred_to() != set()


class Stormer:
    """A client of a registry process."""

    def __init__(self, server: RegistryServer, seed: str) -> None:
        self.remote = Remote(server.endpoint)
        self._dice = random.Random(seed)
        self._seed = seed

    async def pushes(self, count: int) -> None:
        """Push so often; delete, now and then the whole model."""
        for number in range(count):
            model = f"m{self._dice.randrange(3)}"
            await self.push(model, f"{self._seed}-{number}")
            if self._dice.random() < 0.15:
                await self.tolerant("DeleteModel", name=model, purge=self._dice.random() < 0.5)
            elif self._dice.random() < 0.5:
                await self.tolerant("DeleteVersion", model=model, version=str(self._dice.randint(1, 5)))
        await self.remote.close()

    async def push(self, model: str, upload: str) -> None:
        files = {"m.onnx": ONNX} | {f"f{n}": data for n, data in enumerate(self._dice.sample(POOL, 3))}
        chunks = {sha256(data): data for data in files.values()}
        await self.tolerant("RegisterModel", name=model)
        missing = (await self.remote("FindMissingChunks", digests=list(chunks), upload=upload)).digests
        await self.remote.upload(messages(chunks[digest] for digest in missing))
        create = {"model": model, "format": "onnx", "manifest": manifest_pb(files), "upload": upload}
        await self.tolerant("CreateVersion", **create)

    async def tolerant(self, method: str, **fields: object) -> None:
        """Call a method; another client may have deleted the model meanwhile."""
        try:
            await self.remote(method, **fields)
        except grpc.aio.AioRpcError as error:
            if not isinstance(error_of(error), NotFoundError | PreconditionError):
                raise

    async def collects(self) -> None:
        """Collect until cancelled."""
        while True:
            await self.tolerant("CollectGarbage")
            await asyncio.sleep(0.01)


@pytest.mark.chaos
async def test_a_storm_on_two_registries(new_registry: Callable[..., RegistryServer], etcd: Etcd) -> None:
    options = ["--grace-s=0.3", "--collect-every-s=0.5"]
    first = new_registry(options=options)
    second = new_registry(name="registry-1", store=first.store, options=options)
    for server in (first, second):
        await server.wait_ready()
    collectors = [Stormer(server, "collector") for server in (first, second)]
    collections = [asyncio.ensure_future(one.collects()) for one in collectors]
    clients = [Stormer(server, f"{n}") for n, server in enumerate((first, second, first, second))]
    try:
        await asyncio.gather(*(client.pushes(10) for client in clients))
    finally:
        for collection in collections:
            collection.cancel()
        await asyncio.wait(collections)
    assert all(collection.cancelled() for collection in collections)
    for one in collectors:
        await one.remote.close()
    second.stop()
    first.stop()  # what an interrupted call left to be collected is collected at its end
    store = ChunkStore(str(first.store), "registry-0")
    await store.prepare()
    contents = Contents(etcd, store)
    assert await contents.referred_to() <= await contents.chunks()
    await etcd.commit([], [Delete(keys.HOLDS, prefix=True), Delete(keys.PREFIX + "collection/", prefix=True)])
    await Collector(etcd, store, "at the end").collect()
    assert await contents.chunks() == await contents.referred_to() != set()
