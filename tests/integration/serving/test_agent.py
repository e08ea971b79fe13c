"""The agent on a real etcd: what runs follows what is placed; and how a worker takes its name and its lease."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.deployment import InstanceState, Placement, Worker
from modelyard.etcd import Etcd
from modelyard.session import Session
from modelyard_worker.membership import announce, lock, open_session
from tests import models
from tests.integration.serving.machine import Machine
from tests.integration.serving.traffic import own_runners
from tests.servers import ProgramServer
from tests.waiting import eventually

READY, FAILED, LOADING = InstanceState.READY, InstanceState.FAILED, InstanceState.LOADING


async def test_what_is_placed_runs_and_what_is_withdrawn_ends(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    await machine.becomes("m", READY)
    await machine.place("n", digest)
    await machine.withdraw("m")
    await machine.becomes("n", READY)
    await machine.is_gone("m")


async def test_one_that_fails_does_not_hold_up_another(machine: Machine) -> None:
    await machine.place("bad", machine.store("a", models.crash_at_load()))
    await machine.place("absent", "b" * 64)
    await machine.place("good", machine.store("c", models.mlp((4, 2))))
    await machine.becomes("good", READY)
    assert "killed by SIGFPE" in (await machine.becomes("bad", FAILED)).reason
    assert (await machine.becomes("absent", LOADING)).reason in ("", "no registry is live")
    await machine.withdraw("bad")
    await machine.withdraw("absent")
    await machine.is_gone("bad")
    await machine.is_gone("absent")


async def test_a_later_leaders_word_for_the_same_thing_changes_nothing(machine: Machine) -> None:
    digest = machine.store("a", models.mlp((4, 2)))
    await machine.place("m", digest)
    before = await machine.becomes("m", READY)
    held = await machine.etcd.get(keys.placement("w0", "m", "1"))
    assert held is not None
    later = replace(codec.decode(Placement, held.value), epoch=99)
    await machine.etcd.put(held.key, codec.encode(later))
    await machine.place("n", digest)
    await machine.becomes("n", READY)
    assert await machine.becomes("m", READY) == before


async def test_a_lost_lease_brings_the_instances_back_and_restarts_nothing(machine: Machine) -> None:
    await machine.place("m", machine.store("a", models.mlp((4, 2))))
    before = await machine.becomes("m", READY)
    await machine.etcd.revoke(lost := machine.session.lease_id)
    await eventually(lambda: machine.session.lease_id not in {0, lost})  # with a new one all is announced anew
    assert await machine.instance("m") == before


async def test_closing_ends_everything_also_what_is_being_unloaded(etcd: Etcd, tmp_path: Path) -> None:
    machine = Machine(etcd, tmp_path)
    async with machine.running():
        digest = machine.store("a", models.mlp((4, 2)))
        for name in ("m", "n"):
            await machine.place(name, digest)
            await machine.becomes(name, READY)
        await machine.withdraw("m")
        await eventually(lambda: machine.agent._ending)
    assert own_runners() == []
    assert (await etcd.list(keys.INSTANCES)).items == {}


def worker(name: str = "w0", incarnation: str = "one") -> Worker:
    return Worker(name, "127.0.0.1:1", 1.0, 1 << 30, incarnation)


async def test_a_restarted_worker_ends_its_predecessors_lease(etcd: Etcd, tmp_path: Path) -> None:
    dead = Session(etcd)
    await open_session(dead, etcd, tmp_path)
    await announce(dead, worker())
    assert (tmp_path / "lease").read_text() == str(dead.lease_id)
    born = Session(etcd)
    await open_session(born, etcd, tmp_path)
    assert await etcd.get(keys.worker("w0")) is None
    await announce(born, worker(incarnation="two"))
    assert (tmp_path / "lease").read_text() == str(born.lease_id)
    await born.close()


@pytest.mark.parametrize("left", ["", "garbage", "123456"])
async def test_whatever_an_earlier_process_left_behind_it_starts(left: str, etcd: Etcd, tmp_path: Path) -> None:
    (tmp_path / "lease").write_text(left)
    session = Session(etcd)
    await open_session(session, etcd, tmp_path)
    assert session.lease_id
    await session.close()


async def test_a_name_that_is_taken_is_waited_for(etcd: Etcd, caplog: pytest.LogCaptureFixture) -> None:
    first, second = Session(etcd), Session(etcd)
    await first.start()
    await second.start()
    await announce(first, worker())
    waiting = asyncio.ensure_future(announce(second, worker(incarnation="two")))
    await eventually(lambda: "waiting for this worker's name" in caplog.text)
    assert not waiting.done()
    await first.close()
    await waiting
    held = await etcd.get(keys.worker("w0"))
    assert held is not None
    assert codec.decode(Worker, held.value).incarnation == "two"
    await second.close()


async def test_a_claim_whose_answer_was_lost_is_ones_own(etcd: Etcd) -> None:
    session = Session(etcd)
    await session.start()
    await announce(session, worker())
    await announce(session, worker())
    await session.close()
    assert await etcd.get(keys.worker("w0")) is None


async def test_etcd_may_be_away_while_a_worker_announces_itself(
    etcd_server: ProgramServer, etcd: Etcd, tmp_path: Path
) -> None:
    session = Session(etcd)
    await open_session(session, etcd, tmp_path)
    etcd_server.kill()
    announcing = asyncio.ensure_future(announce(session, worker()))
    opening = asyncio.ensure_future(open_session(Session(etcd), etcd, tmp_path / "other"))
    (tmp_path / "other").mkdir()
    await asyncio.sleep(0.3)
    assert not announcing.done()
    assert not opening.done()
    etcd_server.start()
    await asyncio.wait_for(asyncio.gather(announcing, opening), 60)
    await session.close()


def test_a_data_directory_is_one_workers(tmp_path: Path) -> None:
    held = lock(tmp_path / "new")
    with pytest.raises(OSError, match=r"data directory .*new: another worker holds it"):
        lock(tmp_path / "new")
    held.close()
    lock(tmp_path / "new").close()
