from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelyard import codec, keys
from modelyard.deployment import Member
from modelyard.errors import PreconditionError
from modelyard.etcd import Delete, Etcd
from modelyard.jobs.training_progress import TrainingReport
from modelyard.session import Election, Term
from modelyard.train.control.config import Config
from modelyard.train.control.fence import NONE, DeposedError, Fence, Record, bury
from modelyard.train.control.messages import Formation, Saved
from modelyard.train.control.reporting import Reporting
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


async def test_the_next_process_of_a_worker_does_not_wait_for_the_lease_of_the_one_before(etcd: Etcd) -> None:
    first = Fence(etcd, JOB, await own(etcd, codec.encode(Member("w0/a", "127.0.0.1:1")).decode()))
    await first.read()
    for other in ("w1/b", "w0/a", "b"):
        await bury(etcd, JOB, other)
        assert await etcd.get(CONTROL)
    await bury(etcd, JOB, "w0/b")
    second = Fence(etcd, JOB, await own(etcd, "w0/b"))
    await second.read()
    with pytest.raises(DeposedError, match="another process's"):
        await first.write(record(1, "r0"))
    assert await second.write(record(1, "r1"))
    await bury(etcd, JOB, "w0/c")  # of whom nothing is understood there is no successor
    assert await second.write(record(2, "r1"))


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


async def test_the_last_checkpoint_is_noted_also_if_it_is_an_earlier_one(etcd: Etcd) -> None:
    fence = Fence(etcd, JOB, await own(etcd, "a"))
    await fence.read()
    assert await fence.write(record(2, "r0"))
    for saved, expected in ((Saved(Position(5), "e"), "e"), (Saved(Position(4), "d"), "d"), (None, "d")):
        assert await fence.note(saved)
        checkpoint = (await fence.read()).formation.checkpoint
        assert checkpoint
        assert checkpoint.name == expected


async def test_a_checkpoint_that_was_not_noted_because_of_a_write_whose_answer_was_lost_is_noted_next(
    etcd: Etcd,
) -> None:
    term = await own(etcd, "a")
    fence, lost = Fence(etcd, JOB, term), Fence(etcd, JOB, term)
    await fence.read()
    await lost.read()
    assert await lost.write(record(1, "r0"))
    saved = Saved(Position(5), "e")
    assert not await fence.note(saved)
    assert await fence.note(saved)
    assert (await fence.read()).formation == replace(record(1, "r0").formation, checkpoint=saved)


async def forget(etcd: Etcd) -> None:
    """As the leading scheduler does, when the job is over."""
    await etcd.commit([], [Delete(keys.training_charter(JOB)), Delete(keys.training_formation(JOB))])


async def test_nothing_is_written_once_the_job_is_forgotten(etcd: Etcd) -> None:
    await etcd.put(keys.training_charter(JOB), b"{}")
    fence = Fence(etcd, JOB, await own(etcd, "a"))
    await fence.read()
    assert await fence.write(record(1, "r0"))
    await etcd.put(keys.training_charter(JOB), b'{"stop": "now"}')
    assert await fence.write(record(2, "r0"))
    reporting = Reporting(etcd, fence.conditions, Config(job=JOB), TrainingReport())
    await forget(etcd)
    with pytest.raises(DeposedError, match="the job is over"):
        await fence.write(record(3, "r0"))
    with pytest.raises(DeposedError, match="the job is over"):
        await fence.note(Saved(Position(9), "z"))
    with pytest.raises(DeposedError):
        await reporting.end(stopped=True)
    assert await etcd.keys(keys.training(JOB)) == [CONTROL]
    await etcd.put(keys.training_charter(JOB), b"{}")  # begun anew, by other processes
    with pytest.raises(DeposedError):
        await fence.write(record(3, "r0"))


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
