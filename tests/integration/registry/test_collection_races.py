"""A collection that something happens to: between its marks and its sweep, and while chunks are condemned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Collected, Hold, Model
from modelyard.etcd import Etcd
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.manifests import save_manifest
from modelyard_registry.artifacts.store import ChunkStore, sha256
from modelyard_registry.artifacts.uploads import Uploads
from modelyard_registry.catalogue import Catalogue
from tests.integration.registry.contents import Contents, chunk, manifest, version
from tests.waiting import eventually

OLD = [chunk("old", n) for n in range(6)]
DIGESTS = [sha256(data) for data in OLD]


class GatedStore(ChunkStore):
    """A store on which a collection stands still, at its listing and at its removal, until it is let go on."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "registry-0")
        self.listing, self.removal = Gate(), Gate()

    async def chunks(self, first: str) -> list[tuple[str, int]]:
        await self.listing.passed()
        return await super().chunks(first)

    async def remove(self, digests: Sequence[str], check: Callable[[], None]) -> Sequence[str]:
        await self.removal.passed()
        return await super().remove(digests, check)


class Gate:
    """Closed, at first."""

    def __init__(self) -> None:
        self.reached, self._open = asyncio.Event(), asyncio.Event()

    async def passed(self) -> None:
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


class Race:
    """A collection of old chunks that nobody refers to, and what others do meanwhile."""

    def __init__(self, etcd: Etcd, store: GatedStore) -> None:
        self.etcd = etcd
        self.store = store
        self.contents = Contents(etcd, store)
        self.uploads = Uploads(Holds(etcd), store)
        self.catalogue = Catalogue(etcd, 60.0)
        self._collection = asyncio.ensure_future(Collector(etcd, store, "registry-0").collect())

    async def at(self, gate: Gate) -> None:
        """Return once the collection stands at a gate; those before it are open."""
        if gate is self.store.removal:
            self.store.listing.open()
        await asyncio.wait_for(gate.reached.wait(), 30)

    async def end(self) -> Collected:
        """Let it go on to its end."""
        self.store.listing.open()
        self.store.removal.open()
        return await asyncio.wait_for(self._collection, 30)

    async def missing(self) -> list[str]:
        return await self.uploads.missing(DIGESTS[:3], "u1", "default")

    async def publish(self) -> None:
        """As the publisher does, all of it."""
        files = manifest(OLD[:3])
        await save_manifest(self.store, files)
        await self.catalogue.models.register(Model("m"))
        await self.catalogue.publications.publish(version("m", "1", OLD[:3]))

    async def chunks(self) -> set[str]:
        """What is there at the end."""
        self.store.listing.open()
        return await self.contents.chunks()


@pytest.fixture
async def race(etcd: Etcd, tmp_path: Path) -> AsyncIterator[Race]:
    store = GatedStore(str(tmp_path))
    await store.prepare()
    await Contents(etcd, store).put(*OLD)
    started = Race(etcd, store)
    yield started
    await started.end()


async def test_an_upload_between_mark_and_sweep_keeps_what_is_there(race: Race) -> None:
    await race.at(race.store.listing)
    assert await race.missing() == []
    assert (await race.end()).removed_chunks == 3
    assert await race.chunks() == set(DIGESTS[:3])


async def test_an_upload_of_what_is_being_removed_waits_and_then_brings_it_anew(race: Race) -> None:
    await race.at(race.store.removal)
    asked = asyncio.ensure_future(race.missing())
    await eventually(lambda: race.etcd.keys(keys.HOLDS))
    done, _ = await asyncio.wait([asked], timeout=0.2)
    assert not done
    assert (await race.end()).removed_chunks == 6
    assert await asyncio.wait_for(asked, 30) == DIGESTS[:3]
    await race.contents.put(*OLD[:3])
    await race.publish()
    assert (await Collector(race.etcd, race.store, "registry-1").collect()).removed_chunks == 0
    assert await race.contents.referred_to() == await race.chunks()


async def test_an_upload_of_something_else_does_not_wait(race: Race) -> None:
    await race.at(race.store.removal)
    digest = sha256(b"new")
    assert await asyncio.wait_for(race.uploads.missing([digest], "u1", "default"), 30) == [digest]


async def test_a_version_that_is_made_between_mark_and_sweep_keeps_its_chunks(race: Race) -> None:
    await race.at(race.store.listing)
    await race.missing()
    await race.publish()
    await race.uploads.release("u1", "default")
    assert (await race.end()).removed_chunks == 3
    assert await race.chunks() == await race.contents.referred_to() != set()


async def test_a_hold_of_another_owner_between_mark_and_sweep(race: Race) -> None:
    await race.at(race.store.listing)
    await race.etcd.put(keys.hold("job-7"), codec.encode(Hold((DIGESTS[0][:16], DIGESTS[1]))))
    assert (await race.end()).removed_chunks == 4
    assert await race.chunks() == set(DIGESTS[:2])


async def test_a_hold_that_is_released_too_early_keeps_nothing(race: Race) -> None:
    await race.at(race.store.listing)
    await race.missing()
    await race.uploads.release("u1", "default")
    assert (await race.end()).removed_chunks == 6


async def between_its_readings(
    race: Race, monkeypatch: pytest.MonkeyPatch, first: Callable[[], Awaitable[object]]
) -> None:
    """Have something done between the two readings, of holds and of versions, that follow each other."""
    read = race.etcd.list

    async def reading(prefix: str, after: int = 0) -> object:
        found = await read(prefix, after)
        if after:
            monkeypatch.undo()
            await first()
        return found

    monkeypatch.setattr(race.etcd, "list", reading)
    race.store.listing.open()


async def test_a_version_that_is_committed_and_let_go_between_the_two_readings(
    race: Race, monkeypatch: pytest.MonkeyPatch
) -> None:
    await race.at(race.store.listing)
    await race.missing()

    async def publish_and_release() -> None:
        await race.publish()
        await race.uploads.release("u1", "default")

    await between_its_readings(race, monkeypatch, publish_and_release)
    await race.at(race.store.removal)
    assert (await race.end()).removed_chunks == 3
    assert await race.chunks() == await race.contents.referred_to() != set()


async def test_a_hold_that_comes_between_the_two_readings_waits(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    await race.at(race.store.listing)
    asked: list[asyncio.Future[list[str]]] = []

    async def ask() -> None:
        asked.append(asyncio.ensure_future(race.missing()))
        await eventually(lambda: race.etcd.keys(keys.HOLDS))

    await between_its_readings(race, monkeypatch, ask)
    assert (await race.end()).removed_chunks == 6
    assert await asyncio.wait_for(asked[0], 30) == DIGESTS[:3]
