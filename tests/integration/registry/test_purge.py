from __future__ import annotations

import time
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Alias, Hold, Request
from modelyard.etcd import Etcd
from modelyard_registry.catalogue.purge import REQUEST_S, Purge
from modelyard_registry.catalogue.scan import PAGE, scan
from tests.integration.registry.contents import Contents, new_contents


@pytest.fixture
async def contents(etcd: Etcd, tmp_path: Path) -> Contents:
    return await new_contents(etcd, tmp_path)


@pytest.fixture
def purge(etcd: Etcd) -> Purge:
    return Purge(etcd)


async def purged(etcd: Etcd, purge: Purge) -> tuple[list[str], set[str]]:
    """What a dry run and a run say, which is the same; and the keys that are gone."""
    before = set(await etcd.keys(keys.PREFIX))
    now_s = time.time()
    would = await purge.run(now_s, dry_run=True)
    assert set(await etcd.keys(keys.PREFIX)) == before
    assert await purge.run(now_s) == would
    return would, before - set(await etcd.keys(keys.PREFIX))


async def test_versions_that_are_deleted_and_past_their_time(etcd: Etcd, contents: Contents, purge: Purge) -> None:
    for name in ("active", "due", "in-grace"):
        await contents.publish("m", name, b"1")
    await contents.delete("m", "due")
    await contents.delete("m", "in-grace", ago_s=-60)
    assert await purged(etcd, purge) == (["m@due"], {keys.version("m", "due")})


async def test_models_that_are_deleted_and_past_their_time_go_with_all_they_have(
    etcd: Etcd, contents: Contents, purge: Purge
) -> None:
    for model in ("m", "m-1", "n"):
        await contents.publish(model, "1", b"1")
        await contents.publish(model, "2", b"1")
        await contents.delete(model, "2")
        await etcd.put(keys.alias(model, "prod"), codec.encode(Alias("prod", "1")))
        await etcd.put(keys.counter(model), b"2")
    await contents.delete_model("m")
    await contents.delete_model("n", ago_s=-60)
    gone, keys_gone = await purged(etcd, purge)
    assert gone == ["m", "m-1@2", "n@2"]
    assert keys_gone == {
        keys.model("m"),
        keys.version("m", "1"),
        keys.version("m", "2"),
        keys.alias("m", "prod"),
        keys.counter("m"),
        keys.version("m-1", "2"),
        keys.version("n", "2"),
    }


async def test_what_is_deployed_stays(etcd: Etcd, contents: Contents, purge: Purge) -> None:
    for model in ("m", "n"):
        await contents.publish(model, "1", b"1")
        await contents.delete(model, "1")
        await etcd.put(keys.deployment(model, "1"), b"{}")
    await contents.delete_model("n")
    assert await purge.run(time.time()) == []
    await etcd.delete(keys.deployment("m", "1"))
    assert await purge.run(time.time()) == ["m@1"]


async def test_ids_of_requests_older_than_a_day(etcd: Etcd, contents: Contents, purge: Purge) -> None:
    await contents.publish("m", "1", b"1")
    for name, age_s in (("old", REQUEST_S + 1), ("young", REQUEST_S - 60)):
        await etcd.put(keys.request("m", name), codec.encode(Request("1", time.time() - age_s)))
    assert await purged(etcd, purge) == ([], {keys.request("m", "old")})


async def test_holds_that_have_expired(etcd: Etcd, purge: Purge) -> None:
    for name, expire_time_s in (("old", time.time() - 1), ("young", time.time() + 60), ("without end", 0.0)):
        await etcd.put(keys.hold(name), codec.encode(Hold(("a" * 16,), expire_time_s=expire_time_s)))
    assert await purged(etcd, purge) == ([], {keys.hold("old")})


async def test_what_cannot_be_read_stays(etcd: Etcd, purge: Purge) -> None:
    for key in (keys.model("m"), keys.version("m", "1"), keys.request("m", "r"), keys.hold("h")):
        await etcd.put(key, b"of a later release")
    assert await purged(etcd, purge) == ([], set())


async def test_a_record_that_is_brought_back_in_between_stays(
    etcd: Etcd, contents: Contents, purge: Purge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await contents.publish("m", "1", b"1")
    await contents.delete("m", "1")
    commit = etcd.commit

    async def overtaken(*transaction: object) -> int:
        await contents.publish("m", "1", b"1")
        return await commit(*transaction)  # type: ignore[arg-type]

    monkeypatch.setattr(etcd, "commit", overtaken)
    assert await purge.run(time.time()) == []
    assert keys.version("m", "1") in await etcd.keys(keys.MODELS)


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
async def test_scanning_pages(etcd: Etcd, count: int) -> None:
    wanted = [keys.model(f"m{n:05d}") for n in range(count)]
    for key in wanted:
        await etcd.put(key, b"{}")
    pages = [page async for page in scan(etcd, keys.MODELS)]
    assert [kv.key for page in pages for kv in page] == wanted
    assert all(0 < len(page) <= PAGE for page in pages)
