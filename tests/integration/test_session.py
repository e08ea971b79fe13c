import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any

import pytest

from modelyard.errors import UnavailableError
from modelyard.etcd import Compare, Etcd, Put
from modelyard.session import Election, Session, Term
from tests.servers import ProgramServer
from tests.waiting import eventually

KEY = "/test/workers/w"
LEADER = "/test/leader"
TTL_S = 2
LONG_S = 60
"""Of leases that are not to run out while a test looks, however slow the machine is."""


async def holds(client: Etcd, key: str, lease_id: int | None = None) -> bool:
    """Whether the key is there, under that lease where one is named."""
    found = await client.get(key)
    return found is not None and lease_id in {None, found.lease_id}


async def holds_not(client: Etcd, key: str) -> bool:
    return not await holds(client, key)


async def witness(client: Etcd) -> str:
    """A key under a lease that nobody keeps alive: when it is gone, the time of a lease is over."""
    await client.put("/witness", b"", await client.grant(TTL_S))
    return "/witness"


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def hung(server: ProgramServer) -> Any:
    server.suspend()
    try:
        yield
    finally:
        server.resume()


@pytest.fixture
async def session(etcd: Etcd) -> AsyncIterator[Session]:
    """A session with a key, kept alive."""
    one = Session(etcd, TTL_S)
    await one.start()
    await one.put(KEY, b"1")
    async with running(one.run()):
        yield one


async def test_keys_are_there_under_the_lease_and_go_with_it(etcd: Etcd, session: Session) -> None:
    assert await holds(etcd, KEY, session.lease_id)
    await session.put(KEY, b"2")
    await session.put(KEY + "2", b"")
    await session.delete(KEY + "2")
    found = await etcd.get(KEY)
    assert found is not None
    assert found.value == b"2"
    assert not await holds(etcd, KEY + "2")
    await session.close()
    assert not await holds(etcd, KEY)


async def test_a_lease_that_is_kept_alive_outlives_its_time(etcd: Etcd, session: Session) -> None:
    for _ in range(5):  # it is lost all the same where this process was held up for so long
        lease_id, key = await eventually(lambda: session.lease_id), await witness(etcd)
        await eventually(partial(holds_not, etcd, key))
        if session.lease_id == lease_id:
            break
    assert session.lease_id == lease_id
    assert await holds(etcd, KEY, lease_id)


async def test_a_lease_revoked_behind_its_back_is_replaced_and_all_keys_come_back(etcd: Etcd, session: Session) -> None:
    told: list[int] = []

    async def remember(lease_id: int) -> None:
        assert not await holds(etcd, KEY)
        told.append(lease_id)

    session.on_lease = remember
    await session.put(KEY + "2", b"")
    first = session.lease_id
    await etcd.revoke(first)
    assert not await holds(etcd, KEY)
    await eventually(lambda: session.lease_id not in {0, first})
    assert await holds(etcd, KEY, session.lease_id)
    assert await holds(etcd, KEY + "2", session.lease_id)
    assert told == [session.lease_id]


async def test_a_key_that_is_gone_though_the_lease_lives_comes_back(etcd: Etcd, session: Session) -> None:
    """As when etcd has lost a write in a crash, or a put came late under a lease that was given up."""
    lease_id = session.lease_id
    await session.put(KEY + "2", b"2")
    await session.put(KEY + "3", b"3")
    await session.delete(KEY + "3")
    await etcd.delete(KEY)
    await etcd.put(KEY + "2", b"another's", other := await etcd.grant(TTL_S))
    await eventually(lambda: holds(etcd, KEY, lease_id))
    assert await holds(etcd, KEY + "2", other)
    await etcd.revoke(other)
    await eventually(lambda: holds(etcd, KEY + "2", lease_id))
    assert session.lease_id == lease_id
    assert not await holds(etcd, KEY + "3")


async def test_a_put_under_a_lost_lease_renews_at_once(etcd: Etcd) -> None:
    session = Session(etcd, 3600)  # so that the next renewal in turn would be in 20 minutes
    await session.start()
    first = session.lease_id
    async with running(session.run()):
        await etcd.revoke(first)
        await session.put(KEY, b"1")
        await eventually(lambda: session.lease_id not in {0, first})
        assert await holds(etcd, KEY, session.lease_id)
    await session.close()


async def test_keys_come_back_after_etcd_hung_longer_than_the_lease(
    etcd: Etcd, etcd_server: ProgramServer, session: Session
) -> None:
    first = session.lease_id
    key = await witness(etcd)
    with hung(etcd_server):
        await asyncio.sleep(TTL_S * 1.5)  # this long an outage is what is tested
    await eventually(lambda: holds_not(etcd, key))
    await eventually(lambda: holds(etcd, KEY, session.lease_id or -1))
    assert session.lease_id != first


async def test_a_session_goes_on_after_etcd_was_killed_and_came_back(
    etcd: Etcd, etcd_server: ProgramServer, session: Session
) -> None:
    etcd_server.kill()
    await session.put(KEY + "2", b"said while etcd was away")
    await session.delete(KEY)
    etcd_server.start()
    await etcd_server.wait_ready()
    await eventually(lambda: holds(etcd, KEY + "2", session.lease_id or -1))
    await eventually(lambda: holds_not(etcd, KEY))


async def test_what_is_said_without_a_lease_never_outlives_the_process(etcd: Etcd, etcd_server: ProgramServer) -> None:
    session = Session(etcd, TTL_S)
    await session.start()
    etcd_server.kill()
    await session.put(KEY, b"1")
    assert session.lease_id == 0
    etcd_server.start()
    await etcd_server.wait_ready()
    await session.put(KEY + "2", b"2")  # etcd is back, and the session has not renewed yet
    assert not await holds(etcd, KEY + "2")
    with pytest.raises(UnavailableError):
        await session.claim(KEY + "3", b"3")
    async with running(session.run()):
        await eventually(lambda: holds(etcd, KEY, session.lease_id or -1))
        assert await holds(etcd, KEY + "2", session.lease_id)


async def test_announcements_during_a_renewal_are_not_lost(etcd: Etcd, session: Session) -> None:
    def renewed(old: int) -> bool:
        return session.lease_id not in {0, old}

    for round_ in range(5):
        lease_id = session.lease_id
        await etcd.revoke(lease_id)
        changes = [session.put(f"{KEY}-{n}", b"%d" % round_) for n in range(20)]
        await asyncio.gather(*changes, *(session.delete(f"{KEY}-{n}") for n in range(10)))
        await eventually(partial(renewed, lease_id))
    expected = {KEY, *(f"{KEY}-{n}" for n in range(10, 20))}

    async def settled() -> bool:
        items = (await etcd.list("/test/")).items
        return set(items) == expected and {kv.lease_id for kv in items.values()} == {session.lease_id}

    await eventually(settled)


async def test_announcements_between_the_puts_of_a_renewal_are_not_lost(etcd: Etcd, session: Session) -> None:
    others: list[asyncio.Task[None]] = []

    async def announce_more(_: int) -> None:
        others.extend(asyncio.create_task(session.put(f"{KEY}-{n}", b"")) for n in range(10))

    first = session.lease_id
    session.on_lease = announce_more
    await etcd.revoke(first)
    await eventually(lambda: session.lease_id not in {0, first})
    await asyncio.gather(*others)
    listing = await etcd.list(KEY)
    assert set(listing.items) == {KEY, *(f"{KEY}-{n}" for n in range(10))}
    assert {kv.lease_id for kv in listing.items.values()} == {session.lease_id}


async def test_a_key_is_claimed_by_one_alone(etcd: Etcd, session: Session) -> None:
    other = Session(etcd, LONG_S)
    await other.start()
    assert not await other.claim(KEY, b"mine")
    assert await other.claim(KEY + "2", b"mine")
    assert await holds(etcd, KEY, session.lease_id)
    assert await holds(etcd, KEY + "2", other.lease_id)
    await other.close()
    assert await holds(etcd, KEY)


async def test_closing_while_etcd_is_away_is_no_error(etcd: Etcd, etcd_server: ProgramServer) -> None:
    session = Session(etcd, TTL_S)
    await session.start()
    etcd_server.kill()
    await session.close()
    etcd_server.start()
    await etcd_server.wait_ready()


async def test_the_second_takes_over_when_the_first_resigns(etcd: Etcd) -> None:
    first = await Election(etcd, LEADER, b"first", LONG_S).campaign()
    second = asyncio.create_task(Election(etcd, LEADER, b"second", LONG_S).campaign())
    await asyncio.wait({second}, timeout=0.3)
    assert not second.done()
    await first.resign()
    term = await asyncio.wait_for(second, 30)
    assert term.epoch > first.epoch
    found = await etcd.get(LEADER)
    assert found is not None
    assert found.value == b"second"
    await term.resign()


async def test_the_second_takes_over_when_the_first_falls_silent(etcd: Etcd) -> None:
    first = await Election(etcd, LEADER, b"first", TTL_S).campaign()
    term = await asyncio.wait_for(Election(etcd, LEADER, b"second", TTL_S).campaign(), 30)
    assert term.epoch > first.epoch
    await asyncio.wait_for(first.hold(), 30)  # knows at its next renewal
    await term.resign()


async def test_a_term_that_is_held_outlives_its_lease_and_ends_when_it_is_revoked(etcd: Etcd) -> None:
    for _ in range(5):  # it is lost all the same where this process was held up for so long
        term = await Election(etcd, LEADER, b"first", TTL_S).campaign()
        key = await witness(etcd)
        async with running(term.hold()) as holding:
            await eventually(partial(holds_not, etcd, key))
            if outlived := not holding.done():
                assert await holds(etcd, LEADER)
                await term.resign()
                await asyncio.wait_for(holding, 30)
                break
    assert outlived


async def test_a_deposed_leader_writes_nothing(etcd: Etcd) -> None:
    first = await Election(etcd, LEADER, b"first", LONG_S).campaign()
    assert await etcd.commit([first.fence], [Put("/test/decision", b"of the first")])
    await first.resign()
    second = await Election(etcd, LEADER, b"second", LONG_S).campaign()
    assert not await etcd.commit([first.fence], [Put("/test/decision", b"late")])
    assert await etcd.commit([second.fence], [Put("/test/decision", b"of the second")])
    await second.resign()
    assert not await etcd.commit([second.fence], [Put("/test/decision", b"late")])
    found = await etcd.get("/test/decision")
    assert found is not None
    assert found.value == b"of the second"


async def test_of_many_that_campaign_one_leads_at_a_time(etcd: Etcd) -> None:
    async def lead(name: int) -> Term:
        term = await Election(etcd, LEADER, b"%d" % name, LONG_S).campaign()
        found = await etcd.get(LEADER)
        assert found is not None
        assert (found.value, found.create_revision) == (b"%d" % name, term.epoch)
        await term.resign()
        return term

    terms = await asyncio.wait_for(asyncio.gather(*(lead(name) for name in range(8))), 60)
    assert len({term.epoch for term in terms}) == 8


async def test_a_campaign_outlasts_a_restart_of_etcd(etcd: Etcd, etcd_server: ProgramServer) -> None:
    first = await Election(etcd, LEADER, b"first", 3600).campaign()
    second = asyncio.create_task(Election(etcd, LEADER, b"second", LONG_S).campaign())
    await etcd_server.restart()
    await etcd.wait_ready()
    assert not second.done()
    assert await etcd.commit([Compare(LEADER, first.epoch)], [])
    await first.resign()
    term = await asyncio.wait_for(second, 30)
    await term.resign()
