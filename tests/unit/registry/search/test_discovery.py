from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Model, Resources, Signature, Version
from modelyard.etcd import Etcd, KeyValue, Listing
from modelyard_registry.search.discovery import Discovery


@pytest.fixture
async def discovery() -> AsyncIterator[Discovery]:
    """An index that is told by hand what etcd holds."""
    etcd = Etcd("127.0.0.1:1")
    yield Discovery(etcd)
    await etcd.close()


def listing(revision: int, *values: tuple[int, Model | Version]) -> Listing:
    items = {}
    for mod_revision, value in values:
        key = keys.model(value.name) if isinstance(value, Model) else keys.version(value.model, value.version)
        items[key] = KeyValue(key, codec.encode(value), 1, mod_revision, 0)
    return Listing(revision, items)


def version(model: str, size_bytes: int = 1) -> Version:
    return Version(model, "1", "onnx", Signature(), Resources(), "", size_bytes)


def found(discovery: Discovery) -> list[tuple[str, int, str]]:
    page = discovery.search("", "name", 100, "")
    return [(v.model, v.size_bytes, v.etag) for _, v in page.results]


async def test_a_listing_replaces_what_was_known(discovery: Discovery) -> None:
    await discovery._compare(listing(9, (2, Model("a")), (3, version("a")), (4, Model("b")), (5, version("b"))))
    assert found(discovery) == [("a", 1, "3"), ("b", 1, "5")]
    await discovery._compare(listing(12, (4, Model("b")), (11, version("b", 7))))
    assert found(discovery) == [("b", 7, "11")]
    assert discovery.revision == 12


async def test_revisions_of_a_restored_etcd_stand_for_other_changes(discovery: Discovery) -> None:
    await discovery._compare(listing(9, (2, Model("a")), (5, version("a", 1))))
    await discovery._compare(listing(5, (2, Model("a")), (5, version("a", 2))))
    assert found(discovery) == [("a", 2, "5")]
    assert discovery.revision == 5


async def test_keys_of_other_things_move_it_on(discovery: Discovery) -> None:
    await discovery._compare(Listing(6, {keys.worker("w"): KeyValue(keys.worker("w"), b"{}", 6, 6, 0)}))
    assert found(discovery) == []
    assert discovery.revision == 6
    await discovery.reach(6)


async def test_it_has_come_to_a_revision_only_when_all_of_it_is_taken_in(
    discovery: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard_registry.search.discovery.STRIDE", 1)
    found = listing(9, (2, Model("a")), (9, version("a")), (4, Model("b")), (3, version("b")))
    running = asyncio.create_task(discovery._compare(found))
    seen: list[int] = []
    while not running.done():
        seen.append(discovery.revision)
        await asyncio.sleep(0)
    assert len(seen) > 3
    assert set(seen) == {0}
    assert discovery.revision == 9
