"""A worker that drains, on a real etcd: it waits for those who can see to its placements, and for nobody else."""

from __future__ import annotations

import asyncio

import pytest

from modelyard import codec, keys
from modelyard.deployment import InstanceState, Worker
from modelyard.errors import UnavailableError
from modelyard.etcd import Etcd
from modelyard.etcd.messages import KeyValue
from modelyard.session import Session
from modelyard_worker import drain as draining
from modelyard_worker.drain import drain
from tests import models
from tests.integration.serving.machine import Machine
from tests.servers import ProgramServer
from tests.waiting import eventually

WORKER = Worker("w0", "127.0.0.1:1", 1.0, 1 << 30, "one")


@pytest.fixture
async def busy(machine: Machine) -> Machine:
    """A machine that serves a model, and whose worker is announced."""
    await machine.session.put(keys.worker("w0"), codec.encode(WORKER))
    await machine.place("m", machine.store("a", models.mlp((4, 2))))
    await machine.becomes("m", InstanceState.READY)
    return machine


def start(machine: Machine, drain_s: float = 60.0) -> asyncio.Task[None]:
    return asyncio.create_task(drain(WORKER, machine.etcd, machine.session, machine.agent, drain_s))


async def announced(etcd: Etcd) -> Worker:
    held = await etcd.get(keys.worker("w0"))
    assert held is not None
    return codec.decode(Worker, held.value)


async def says_so(etcd: Etcd) -> bool:
    return (await announced(etcd)).draining


async def test_it_says_so_and_waits_until_its_placements_are_withdrawn(busy: Machine, etcd: Etcd) -> None:
    await etcd.put(keys.LEADER, b"{}")
    drained = start(busy)
    await eventually(lambda: says_so(etcd))
    assert (await announced(etcd)).incarnation == WORKER.incarnation
    assert not drained.done()
    await busy.withdraw("m")
    await drained
    assert await busy.instance("m") is None


async def test_it_waits_no_longer_than_it_was_told(busy: Machine, etcd: Etcd) -> None:
    await etcd.put(keys.LEADER, b"{}")
    await start(busy, drain_s=0.2)
    assert (await busy.becomes("m", InstanceState.READY)).state is InstanceState.READY


async def test_where_nobody_leads_and_nobody_may_it_does_not_wait(
    busy: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    await start(busy)
    assert "drain given up" in caplog.text


async def test_it_waits_for_a_scheduler_that_may_lead_and_no_longer_than_that_lives(busy: Machine, etcd: Etcd) -> None:
    scheduler = Session(etcd)
    await scheduler.start()
    await scheduler.put(keys.member("scheduler", "scheduler-0"), b"{}")
    drained = start(busy)
    await eventually(lambda: says_so(etcd))
    await asyncio.sleep(3 * draining.LOOK_S)  # it looks a few times
    assert not drained.done()
    await scheduler.close()
    await drained


async def test_without_etcd_it_does_not_wait(busy: Machine, etcd: Etcd, etcd_server: ProgramServer) -> None:
    await etcd.put(keys.LEADER, b"{}")
    drained = start(busy)
    await eventually(lambda: says_so(etcd))
    etcd_server.kill()
    try:
        await drained
    finally:
        etcd_server.start()
        await etcd_server.wait_ready()


async def test_one_question_that_is_not_answered_is_no_reason_to_give_up(
    busy: Machine, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    await etcd.put(keys.LEADER, b"{}")
    failed, get = asyncio.Event(), busy.etcd.get

    async def fail_once(key: str) -> KeyValue | None:
        if not failed.is_set():
            failed.set()
            raise UnavailableError("etcdserver: leader changed")
        return await get(key)

    monkeypatch.setattr(busy.etcd, "get", fail_once)
    drained = start(busy)
    await failed.wait()
    await asyncio.sleep(3 * draining.LOOK_S)
    assert not drained.done()
    await busy.withdraw("m")
    await drained


async def test_where_nothing_is_placed_nothing_is_said(machine: Machine, etcd: Etcd) -> None:
    await machine.session.put(keys.worker("w0"), codec.encode(WORKER))
    await etcd.put(keys.LEADER, b"{}")
    await eventually(machine.agent.idle.is_set)
    await start(machine)
    assert not await says_so(etcd)


async def test_it_may_be_told_not_to_wait(busy: Machine, etcd: Etcd) -> None:
    await etcd.put(keys.LEADER, b"{}")
    await start(busy, drain_s=0)
    assert not await says_so(etcd)
