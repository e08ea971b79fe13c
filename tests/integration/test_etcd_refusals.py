"""What etcd refuses, and what is too much for it or for us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.errors import ExhaustedError, UnavailableError
from modelyard.etcd import Change, Etcd, Listing, Put, RefusedError, keyspace, members
from modelyard.session import Session
from tests.servers import ProgramServer, new_etcd
from tests.waiting import eventually

PREFIX = "/test/"
RECEIVED = "grpc.max_receive_message_length"


@pytest.fixture
async def narrow(etcd: Etcd, etcd_server: ProgramServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Etcd]:
    """A client that takes only small messages, of an etcd that has a megabyte in 100 keys."""
    for number in range(100):
        await etcd.put(f"{PREFIX}{number:03}", bytes(10_000))
    options = [(k, 100_000 if k == RECEIVED else v) for k, v in members.CHANNEL_OPTIONS]
    monkeypatch.setattr(members, "CHANNEL_OPTIONS", options)
    monkeypatch.setattr(keyspace, "PAGE", 5)
    client = Etcd(etcd_server.endpoint)
    yield client
    await client.close()


async def test_an_answer_that_is_too_large_is_no_fault_of_the_callers_input(narrow: Etcd) -> None:
    with pytest.raises(RefusedError, match="larger than max"):
        await narrow.list(PREFIX)


async def test_to_follow_any_number_of_keys_no_large_answer_is_needed(narrow: Etcd) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    async with contextlib.aclosing(narrow.follow(PREFIX)) as stream:
        listing = await anext(stream)
        assert isinstance(listing, Listing)
        assert list(listing.items) == [f"{PREFIX}{number:03}" for number in range(100)]
        assert turns > 20
        await narrow.put(f"{PREFIX}new", b"")
        change = await anext(stream)
        assert isinstance(change, Change)
        assert (change.key, change.revision) == (f"{PREFIX}new", listing.revision + 1)
    counting.cancel()


async def test_what_is_listed_may_be_less_than_what_is_followed(etcd: Etcd) -> None:
    await etcd.commit([], [Put("/test/a", b""), Put("/test/in/b", b"")])
    async with contextlib.aclosing(etcd.follow(PREFIX, "/test/in/")) as stream:
        listing = await anext(stream)
        assert isinstance(listing, Listing)
        assert list(listing.items) == ["/test/in/b"]
        revision = await etcd.commit([], [Put("/test/a", b"1")])
        change = await anext(stream)
        assert isinstance(change, Change)
        assert (change.key, change.revision) == ("/test/a", revision)


async def test_too_many_operations_are_a_bug_that_shows(etcd: Etcd) -> None:
    with pytest.raises(RefusedError, match="INVALID_ARGUMENT: etcdserver: too many operations"):
        await etcd.commit([], [Put(f"/test/{number}", b"") for number in range(20_000)])


async def test_a_lease_that_is_gone_is_to_be_replaced(etcd: Etcd) -> None:
    lease_id = await etcd.grant(60)
    await etcd.revoke(lease_id)
    with pytest.raises(UnavailableError, match="lease not found"):
        await etcd.put("/test/a", b"", lease_id)


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Etcd]:
    """A client of an etcd that has no space left."""
    server = new_etcd(tmp_path, "--quota-backend-bytes=100000")
    server.start()
    await server.wait_ready()
    client = Etcd(server.endpoint)
    with contextlib.suppress(ExhaustedError):
        await client.put("/test/a", bytes(200_000))
    yield client
    await client.close()
    server.close()


async def test_an_etcd_without_space_is_exhausted(full: Etcd) -> None:
    for call in (full.put("/test/a", bytes(1000)), full.commit([], [Put("/test/b", b"")]), full.grant(60)):
        with pytest.raises(ExhaustedError, match="database space exceeded"):
            await call
    assert await full.get("/test/b") is None


async def test_a_session_waits_for_space(full: Etcd, caplog: pytest.LogCaptureFixture) -> None:
    running = asyncio.create_task(Session(full).run())
    await eventually(lambda: [r.getMessage() for r in caplog.records].count("lease not renewed") == 2)
    assert not running.done()
    running.cancel()


async def test_keys_that_are_not_utf_8_can_be_read_and_sent_back(etcd: Etcd, etcd_server: ProgramServer) -> None:
    key = b"/test/\xff\xc3".decode(errors="surrogateescape")
    async with contextlib.aclosing(etcd.follow(PREFIX)) as stream:
        await anext(stream)
        await etcd.commit([], [Put(key, b"1")])
        change = await anext(stream)
        assert isinstance(change, Change)
        assert change.key == key
        assert await etcd.keys(PREFIX) == [key]
        assert [kv.key for kv in await etcd.page(PREFIX, key, 1)] == [key]
        assert key in (await etcd.list(PREFIX)).items
        await etcd.delete(change.key)
        assert await etcd.keys(PREFIX) == []
