import asyncio
import logging
from pathlib import Path

import pytest

from modelyard import revisions
from modelyard.errors import InvalidInputError, UnavailableError
from modelyard.etcd import (
    Compare,
    Delete,
    Etcd,
    HistoryLostError,
    KeyValue,
    Put,
    keyspace,
)
from tests.compaction import compact
from tests.servers import ProgramServer, new_etcd
from tests.waiting import eventually

PREFIX = "/test/"


def text(value: KeyValue | None) -> bytes | None:
    return None if value is None else value.value


async def test_a_key_is_put_read_and_deleted(etcd: Etcd) -> None:
    assert await etcd.get("/test/a") is None
    await etcd.put("/test/a", b"1")
    first = await etcd.get("/test/a")
    await etcd.put("/test/a", b"\0\xff")
    second = await etcd.get("/test/a")
    assert first is not None
    assert second is not None
    assert (first.value, second.value) == (b"1", b"\0\xff")
    assert first.create_revision == second.create_revision < second.mod_revision
    await etcd.delete("/test/a")
    await etcd.delete("/test/a")
    assert await etcd.get("/test/a") is None


async def test_a_listing_has_what_is_below_the_prefix_and_nothing_else(etcd: Etcd) -> None:
    for key in ("/test/a", "/test/b/c", "/tes", "/test", "/test0", "/tesu"):
        await etcd.put(key, key.encode())
    listing = await etcd.list(PREFIX)
    assert {key: kv.value for key, kv in listing.items.items()} == {"/test/a": b"/test/a", "/test/b/c": b"/test/b/c"}


async def test_a_commit_applies_all_or_nothing(etcd: Etcd) -> None:
    create = [Compare("/test/a", 0)]
    assert await etcd.commit(create, [Put("/test/a", b"1"), Put("/test/b", b"1")])
    assert not await etcd.commit(create, [Put("/test/a", b"2"), Delete("/test/b")])
    assert {key: kv.value for key, kv in (await etcd.list(PREFIX)).items.items()} == {"/test/a": b"1", "/test/b": b"1"}


async def test_a_commit_compares_the_last_change(etcd: Etcd) -> None:
    await etcd.put("/test/a", b"1")
    seen = await etcd.get("/test/a")
    assert seen is not None
    assert await etcd.commit([Compare("/test/a", seen.mod_revision, "mod")], [Put("/test/a", b"2")])
    assert not await etcd.commit([Compare("/test/a", seen.mod_revision, "mod")], [Put("/test/a", b"3")])
    assert text(await etcd.get("/test/a")) == b"2"


async def test_a_commit_can_ask_that_a_prefix_is_empty(etcd: Etcd) -> None:
    empty = [Compare("/test/b/", 0, prefix=True)]
    assert await etcd.commit(empty, [Put("/test/b/1", b"")])
    assert not await etcd.commit(empty, [Put("/test/b/2", b"")])
    assert await etcd.commit([], [Delete("/test/b/", prefix=True)])
    assert (await etcd.list(PREFIX)).items == {}


async def test_of_many_that_create_one_key_one_wins(etcd: Etcd) -> None:
    tries = [etcd.commit([Compare("/test/a", 0)], [Put("/test/a", b"%d" % n)]) for n in range(20)]
    won = await asyncio.gather(*tries)
    ((winner, revision),) = [(n, revision) for n, revision in enumerate(won) if revision]
    found = await etcd.get("/test/a")
    assert found is not None
    assert (found.value, found.mod_revision) == (b"%d" % winner, revision)


async def test_a_value_that_is_too_large_is_the_callers_error(etcd: Etcd) -> None:
    for size_bytes in (2 << 20, 5 << 20):
        with pytest.raises(InvalidInputError, match="etcd: "):
            await etcd.put("/test/a", bytes(size_bytes))


async def test_a_key_goes_with_its_lease(etcd: Etcd) -> None:
    lease_id = await etcd.grant(60)
    await etcd.put("/test/a", b"", lease_id)
    found = await etcd.get("/test/a")
    assert found is not None
    assert found.lease_id == lease_id
    assert await etcd.keep_alive(lease_id)
    await etcd.revoke(lease_id)
    assert await etcd.get("/test/a") is None
    assert not await etcd.keep_alive(lease_id)
    await etcd.revoke(lease_id)  # no error


async def test_etcd_away_is_unavailable_in_every_call(etcd: Etcd, etcd_server: ProgramServer) -> None:
    lease_id = await etcd.grant(60)
    etcd_server.kill()
    calls = [
        etcd.get("/a"),
        etcd.list("/a"),
        etcd.page("/a", "/a", 1),
        etcd.put("/a", b""),
        etcd.delete("/a"),
        etcd.commit([], [Put("/a", b"")]),
        etcd.grant(1),
        etcd.revoke(lease_id),
        etcd.keep_alive(lease_id),
    ]
    try:
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, UnavailableError)
            assert etcd_server.endpoint in outcome.message
    finally:
        etcd_server.start()
        await etcd_server.wait_ready()


async def test_wait_ready_says_what_it_waits_for_and_returns_when_etcd_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_etcd(tmp_path)
    client = Etcd(server.endpoint)
    waiting = asyncio.create_task(client.wait_ready())
    try:
        with caplog.at_level(logging.WARNING, "modelyard.etcd"):
            await eventually(lambda: len(caplog.records) >= 2)
        assert not waiting.done()
        facts = {(r.getMessage(), vars(r)["endpoints"]) for r in caplog.records}
        assert facts == {("waiting for etcd", server.endpoint)}
        server.start()
        await asyncio.wait_for(waiting, 30)
    finally:
        waiting.cancel()
        await client.close()
        server.close()


async def test_a_snapshot_is_of_one_revision_however_many_pages(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyspace, "PAGE", 3)
    assert [page.items async for page in etcd.snapshot(PREFIX)] == [{}]
    revision = await etcd.commit([], [Put(f"/test/{n}", b"old") for n in range(7)])
    pages = []
    async for page in etcd.snapshot(PREFIX):
        pages.append(page)
        await etcd.commit([], [Put(f"/test/{n}", b"new") for n in (5, 55)])
    assert [len(page.items) for page in pages] == [3, 3, 1]
    assert {page.revision for page in pages} == {revision}
    assert {key: kv.value for page in pages for key, kv in page.items.items()} == {
        f"/test/{n}": b"old" for n in range(7)
    }


async def test_a_snapshot_that_is_compacted_meanwhile_is_no_snapshot(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyspace, "PAGE", 3)
    await etcd.commit([], [Put(f"/test/{n}", b"") for n in range(7)])
    pages = etcd.snapshot(PREFIX)
    await anext(pages)
    await etcd.put("/test/8", b"")
    await compact(etcd)
    with pytest.raises(HistoryLostError, match="compacted"):
        await anext(pages)


async def test_every_answer_tells_the_revision_that_it_is_of(etcd: Etcd) -> None:
    seen = revisions.begin()
    made = await etcd.commit([], [Put("/test/a", b"")])
    assert seen.newest == made == await etcd.revision()
    await Etcd.put(etcd, "/elsewhere", b"")
    assert seen.newest == made + 1
    other = revisions.begin()
    await asyncio.gather(etcd.get("/test/none"), etcd.list(PREFIX))
    assert (other.newest, seen.newest) == (made + 1, made + 1)
