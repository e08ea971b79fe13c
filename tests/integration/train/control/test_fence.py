from __future__ import annotations

import asyncio

import pytest

from modelyard import keys
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd
from modelyard.session import Election, Term
from modelyard.train.control.fence import NONE, DeposedError, Fence, Record
from modelyard.train.control.messages import Formation, Saved
from modelyard.train.position import Position

JOB = "job-1"
CONTROL = keys.training_control(JOB)


def record(number: int, *members: str) -> Record:
    addresses = tuple("127.0.0.1" for _ in members)
    return Record(Formation(number, members, addresses, "127.0.0.1:1", Saved(Position(3), "c")), "seed=1")


async def own(etcd: Etcd, name: str) -> Term:
    return await asyncio.wait_for(Election(etcd, CONTROL, name.encode()).campaign(), 30)


async def evict(etcd: Etcd) -> None:
    """What happens when a lease runs out."""
    found = await etcd.get(CONTROL)
    assert found is not None
    await etcd.revoke(found.lease_id)


async def test_what_one_writes_its_successor_reads(etcd: Etcd) -> None:
    fence = Fence(etcd, JOB, await own(etcd, "a"))
    assert (await fence.read()).formation == NONE
    assert await fence.write(record(1, "r0", "r1"))
    assert await fence.write(record(5, "r0"))
    await evict(etcd)
    successor = Fence(etcd, JOB, await own(etcd, "b"))
    assert await successor.read() == record(5, "r0")
    assert await successor.write(record(6, "r1"))


async def test_one_whose_lease_is_over_writes_nothing_whether_another_has_come_or_not(etcd: Etcd) -> None:
    first = Fence(etcd, JOB, await own(etcd, "a"))
    await first.read()
    await evict(etcd)
    with pytest.raises(DeposedError, match="nobody's"):
        await first.write(record(1, "r0"))
    second = Fence(etcd, JOB, await own(etcd, "b"))
    await second.read()
    with pytest.raises(DeposedError, match="another process's"):
        await first.write(record(1, "r0"))
    assert await etcd.get(keys.training_formation(JOB)) is None
    assert await second.write(record(1, "r1"))
    with pytest.raises(DeposedError):
        await first.write(record(2, "r0"))
    assert (await second.read()) == record(1, "r1")


async def test_only_one_of_two_that_want_to_own_a_job_does(etcd: Etcd) -> None:
    waits = [asyncio.create_task(own(etcd, name)) for name in "ab"]
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(pending)) == (1, 1)
    await done.pop().result().resign()
    await asyncio.wait_for(pending.pop(), 30)


async def test_a_write_whose_answer_was_lost_is_found(etcd: Etcd) -> None:
    term = await own(etcd, "a")
    fence, lost = Fence(etcd, JOB, term), Fence(etcd, JOB, term)
    await fence.read()
    await lost.read()
    assert await lost.write(record(1, "r0"))
    assert not await fence.write(record(1, "r0"))
    assert fence.last == record(1, "r0")
    assert not await fence.write(record(1, "r0", "r1"))
    assert await fence.write(record(2, "r0", "r1"))


async def test_a_record_that_is_not_understood_is_not_overwritten(etcd: Etcd) -> None:
    await etcd.put(keys.training_formation(JOB), b"{}x")
    fence = Fence(etcd, JOB, await own(etcd, "a"))
    with pytest.raises(PreconditionError, match=f"expected a formation at .*{JOB}"):
        await fence.read()
    assert not await fence_writes(fence)


async def fence_writes(fence: Fence) -> bool:
    try:
        return await fence.write(record(9, "r0"))
    except PreconditionError:
        return False
