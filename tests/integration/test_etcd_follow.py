import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from modelyard import codec
from modelyard.deployment import Member
from modelyard.errors import UnavailableError
from modelyard.etcd import (
    Change,
    Etcd,
    KeyValue,
    Listing,
    Mirror,
)
from modelyard.tasks import background
from tests.compaction import compact
from tests.servers import ProgramServer
from tests.waiting import eventually

PREFIX = "/test/"


class Follower:
    """What a follower of the prefix holds, kept up with the rules of `follow`, and how often it listed."""

    def __init__(self, client: Etcd) -> None:
        self.items: dict[str, bytes] = {}
        self.listings = 0
        self._task = asyncio.create_task(self._run(client))

    async def _run(self, client: Etcd) -> None:
        async with contextlib.aclosing(client.follow(PREFIX)) as stream:
            async for event in stream:
                if isinstance(event, Listing):
                    self.items = {key: kv.value for key, kv in event.items.items()}
                    self.listings += 1
                elif event.value is None:
                    self.items.pop(event.key, None)
                else:
                    self.items[event.key] = event.value.value

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def follower(etcd: Etcd) -> AsyncIterator[Follower]:
    one = Follower(etcd)
    await eventually(lambda: one.listings)
    yield one
    await one.close()


async def test_pages_follow_each_other_in_key_order(etcd: Etcd) -> None:
    for index in range(5):
        await etcd.put(f"/test/{index}", b"")
    first = await etcd.page(PREFIX, PREFIX, 3)
    rest = await etcd.page(PREFIX, first[-1].key + "\0", 3)
    assert [kv.key for kv in [*first, *rest]] == [f"/test/{index}" for index in range(5)]


async def test_follow_lists_and_then_tells_every_change_in_order(etcd: Etcd) -> None:
    await etcd.put("/test/a", b"0")
    async with contextlib.aclosing(etcd.follow(PREFIX)) as stream:
        listing = await anext(stream)
        assert isinstance(listing, Listing)
        assert [kv.value for kv in listing.items.values()] == [b"0"]
        for index in range(100):
            await etcd.put("/test/a", b"%d" % index)
        await etcd.put("/elsewhere", b"")
        await etcd.delete("/test/a")
        changes = [await anext(stream) for _ in range(101)]
    assert all(isinstance(change, Change) for change in changes)
    values = [change.value and change.value.value for change in changes if isinstance(change, Change)]
    assert values == [*(b"%d" % index for index in range(100)), None]


async def test_follow_survives_restarts_of_etcd_without_a_gap(
    etcd: Etcd, etcd_server: ProgramServer, follower: Follower
) -> None:
    writer = Etcd(etcd_server.endpoint)
    for index in range(5):
        await writer.put(f"/test/before-{index}", b"")
        etcd_server.kill()
        etcd_server.start()
        await etcd_server.wait_ready()
        await writer.put(f"/test/after-{index}", b"")
        await writer.delete(f"/test/before-{index}")
    await writer.close()
    expected = {f"/test/after-{index}" for index in range(5)}
    await eventually(lambda: set(follower.items) == expected)


async def test_follow_notices_what_changed_while_etcd_hung(
    etcd: Etcd, etcd_server: ProgramServer, follower: Follower
) -> None:
    lease_id = await etcd.grant(1)
    await etcd.put("/test/leased", b"", lease_id)
    await eventually(lambda: "/test/leased" in follower.items)
    etcd_server.suspend()
    await asyncio.sleep(2)  # longer than the lease
    etcd_server.resume()
    await eventually(lambda: follower.items == {})


async def test_follow_lists_anew_when_its_revision_was_compacted_away(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_snapshot = Etcd.snapshot
    listed = 0

    async def list_and_fall_behind(client: Etcd, prefix: str) -> AsyncGenerator[Listing, None]:
        """As if much happened, and was compacted, between the first listing and its watch."""
        nonlocal listed
        async for page in true_snapshot(client, prefix):
            yield page
        listed += 1
        if listed == 1:
            for index in range(10):
                await client.put("/test/a", b"%d" % index)
            await compact(client)

    monkeypatch.setattr(Etcd, "snapshot", list_and_fall_behind)
    follower = Follower(etcd)
    await eventually(lambda: follower.items == {"/test/a": b"9"})
    assert follower.listings == 2
    await etcd.put("/test/b", b"")
    await eventually(lambda: "/test/b" in follower.items)
    await follower.close()


async def test_closing_a_follower_ends_its_watch(etcd: Etcd) -> None:
    before = asyncio.all_tasks()
    stream = etcd.follow(PREFIX)
    await anext(stream)
    await etcd.put("/test/a", b"")
    await anext(stream)
    await stream.aclose()
    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_a_mirror_holds_what_etcd_holds_and_keeps_it_while_etcd_is_away(
    etcd: Etcd, etcd_server: ProgramServer
) -> None:
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1

    await etcd.put("/test/a", b"1")
    mirror = Mirror(etcd, PREFIX, int, count)
    running = asyncio.create_task(mirror.run())
    await asyncio.wait_for(mirror.synced.wait(), 30)
    assert mirror.items == {"a": 1}
    await etcd.put("/test/b", b"2")
    await eventually(lambda: mirror.items == {"a": 1, "b": 2})
    found = await etcd.get("/test/b")
    assert found is not None
    assert mirror.revisions["b"] == found.mod_revision
    etcd_server.kill()
    with pytest.raises(UnavailableError):
        await etcd.get("/test/a")
    assert mirror.items == {"a": 1, "b": 2}
    etcd_server.start()
    await etcd_server.wait_ready()
    await etcd.delete("/test/a")
    await eventually(lambda: mirror.items == {"b": 2})
    assert set(mirror.revisions) == {"b"}
    assert changes >= 3
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_listing_replaces_what_a_mirror_knew(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    async def two_listings(client: Etcd, prefix: str) -> AsyncGenerator[Listing, None]:
        for keys in ("ab", "bc"):
            yield Listing(1, {prefix + key: KeyValue(prefix + key, b"1", 1, 1, 0) for key in keys})

    monkeypatch.setattr(Etcd, "follow", two_listings)
    mirror = Mirror(etcd, PREFIX, int, lambda: None)
    await mirror.run()
    assert mirror.items == {"b": 1, "c": 1}
    assert set(mirror.revisions) == {"b", "c"}


async def test_a_mirror_passes_over_what_it_cannot_read(etcd: Etcd) -> None:
    await etcd.put("/m/good", codec.encode(Member("a", "x:1")))
    await etcd.put("/m/bad", b"{")
    mirror = Mirror(etcd, "/m/", lambda data: codec.decode(Member, data), lambda: None)
    async with background(mirror.run()):
        await eventually(lambda: "good" in mirror.items)
        assert set(mirror.items) == {"good"}
        await etcd.put("/m/good", b"[]")
        await eventually(lambda: not mirror.items)
        await etcd.put("/m/bad", codec.encode(Member("b", "x:2")))
        await eventually(lambda: set(mirror.items) == {"bad"})
