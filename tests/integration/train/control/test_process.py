"""`python -m modelyard.train.control`, killed and started anew."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from modelyard import codec, keys, process
from modelyard.deployment import Member
from modelyard.errors import InvalidInputError
from modelyard.etcd import Etcd
from modelyard.process import REPORT
from modelyard.train.control.__main__ import _places, serve
from modelyard.train.control.config import Config
from modelyard.train.control.fence import DeposedError
from modelyard.train.control.messages import Committed, Evaluated, Finished, Over, Stop
from modelyard.train.control.reporting import last_report
from modelyard.train.position import Position
from tests.integration.train.control.controls import Control
from tests.integration.train.control.members import JOB, SECRET, FakeMember
from tests.servers import ProgramServer
from tests.waiting import eventually


class ControlProcess:
    """A control process that was started, and what it has reported."""

    def __init__(self, child: process.Child) -> None:
        self.child = child
        self.reports: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for report in self.child.reports():
            self.reports.append(report)

    async def reported(self, state: str) -> dict[str, Any]:
        found = await eventually(lambda: [report for report in self.reports if report["state"] == state], 90)
        return found[0]

    async def close(self) -> None:
        self.child.signal(signal.SIGKILL)
        await self.child.wait()
        await self._reading


@pytest.fixture
async def control(etcd: Etcd, etcd_server: ProgramServer, tmp_path: Path) -> AsyncIterator[Any]:
    started: list[ControlProcess] = []

    async def start(name: str, *options: str) -> ControlProcess:
        command = [sys.executable, "-m", "modelyard.train.control", "--id", name, "--job", JOB, "--lease-s", "2"]
        environ = {**os.environ, "MODELYARD_SECRET": SECRET, "MODELYARD_ETCD": etcd_server.endpoint}
        with (tmp_path / name).open("wb") as log:
            child = await process.start([*command, *options], environ, log, orders=True)
        started.append(ControlProcess(child))
        return started[-1]

    yield start
    for one in started:
        await one.close()


async def announced(etcd: Etcd) -> str:
    """Where members find the control process."""
    found = await etcd.get(keys.training_control(JOB))
    return codec.decode(Member, found.value).address if found else ""


async def reached(etcd: Etcd, step: int) -> bool:
    """Whether it is reported that r0 and r1 have come so far."""
    progress = (await last_report(etcd, JOB)).progress
    return (progress.step, progress.members) == (step, ("r0", "r1"))


def successor(*waiting: ControlProcess) -> list[ControlProcess]:
    """Those that waited, the one that is ready now first; nothing while none is."""
    ready = [one for one in waiting if any(report["state"] == "ready" for report in one.reports)]
    return ready and [*ready, *(one for one in waiting if one not in ready)]


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_members_survive_the_death_of_control_processes(control: Any, etcd: Etcd) -> None:
    options = ("--max-workers", "2", "--settle-s", "0.1")
    one = await control("one", *options)
    address = (await one.reported("ready"))["address"]
    assert await announced(etcd) == address
    two, three = await control("two", *options), await control("three", *options)
    await two.reported("waiting")
    await three.reported("waiting")
    members = [FakeMember(name) for name in ("r0", "r1")]
    for member in members:
        await member.greet(address)
    for member in members:
        await member.told()

    # In mid-formation: one member trains, the other has not formed.
    members[0].formed()
    one.child.signal(signal.SIGKILL)
    for member in members:
        await member.heard_end()
    two, three = await eventually(lambda: successor(two, three), 60)
    address = (await two.reported("ready"))["address"]
    assert await announced(etcd) == address
    await members[0].greet(address, step=1, whole=True)
    await members[1].greet(address)
    assert {(await member.form()).number for member in members} == {2}
    members[0].say(Committed(Position(1), {}, 8, 0.1))
    await eventually(lambda: reached(etcd, 1))

    # While they train: the next one adopts them.
    two.child.signal(signal.SIGTERM)
    for member in members:
        await member.heard_end()
    assert await two.child.wait() == 0
    address = (await three.reported("ready"))["address"]
    for member in members:
        await member.greet(address, step=5, whole=True)
    members[0].say(Committed(Position(6), {}, 8, 0.1))
    await eventually(lambda: reached(etcd, 6))
    assert all(member.nothing_heard for member in members)

    # Members reach the store, which outlives what they are told next.
    members[1].cut()
    formation = await members[0].form()
    assert (formation.number, formation.members) == (3, ("r0",))
    host, _, port = formation.store.rpartition(":")
    store = TCPStore(host, int(port), is_master=False, wait_for_workers=False, timeout=timedelta(seconds=30))
    PrefixStore("3", store).set("key", "value")
    assert PrefixStore("3", store).get("key") == b"value"

    # The parent cancels the job.
    await three.child.order(codec.encode(Stop("cancelled")))
    assert await members[0].hear(Stop) == Stop("cancelled", keeps=True)
    members[0].say(Finished(Position(6), "cancelled"))
    assert await asyncio.wait_for(three.child.wait(), 30) == 0
    report = await last_report(etcd, JOB)
    assert (report.finished, report.failed) == ("cancelled", "")
    assert await announced(etcd) == ""


async def test_a_parent_that_reads_nothing_does_not_keep_a_job_from_ending(
    etcd: Etcd, etcd_server: ProgramServer, tmp_path: Path
) -> None:
    read, write = os.pipe()
    with (tmp_path / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modelyard.train.control", "--job", JOB, "--lease-s", "2"),
            env={**os.environ, "MODELYARD_SECRET": SECRET, "MODELYARD_ETCD": etcd_server.endpoint, REPORT: f"{write}"},
            pass_fds=(write,),
            stdin=asyncio.subprocess.PIPE,
            stderr=log,
        )
    os.close(write)
    try:
        address = await eventually(lambda: announced(etcd), 90)
        member = FakeMember("r0")
        await member.greet(address)
        await member.form()
        values = {f"value {number}": 1.0 for number in range(10_000)}  # more than a pipe holds
        member.say(Evaluated(1, 0, values, {}))
        member.say(Finished(Position(1)))
        assert await member.hear(Over) == Over()
        member.cut()
        assert await asyncio.wait_for(child.wait(), 30) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        os.close(read)
    assert (await last_report(etcd, JOB)).finished == "FINISHED"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing comes on standard input."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.mark.usefixtures("quiet")
async def test_one_that_loses_its_lease_ends(etcd: Etcd) -> None:
    config = Config(job=JOB, secret=SECRET, etcd=etcd.endpoints, lease_s=2)
    serving = asyncio.create_task(serve(config, process.Parent({})))
    await eventually(lambda: announced(etcd))
    found = await etcd.get(keys.training_control(JOB))
    assert found is not None
    await etcd.revoke(found.lease_id)
    with pytest.raises(DeposedError, match="run out"):
        await asyncio.wait_for(serving, 30)


async def test_it_follows_for_how_many_ranks_there_are_places(etcd: Etcd) -> None:
    one, key = Control(etcd), keys.training_places(JOB)
    await one.start()
    following = asyncio.create_task(_places(etcd, JOB, one.service).run())
    for places in (2, 1):
        await etcd.put(key, codec.encode(places))
        await eventually(lambda: one.membership.places == places)  # noqa: B023 (it is awaited)
    await etcd.delete(key)
    await eventually(lambda: one.membership.places is None)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await one.close()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (Config(job=JOB, secret=SECRET, min_workers=3, max_workers=2), "min_workers <= max_workers, got 3 and 2"),
        (Config(job=JOB, secret=SECRET, min_workers=0), "min_workers <= max_workers, got 0 and 1"),
        (Config(job=JOB), "expected a job and its secret"),
        (Config(secret=SECRET), "expected a job and its secret"),
    ],
)
async def test_what_it_cannot_be_started_with_is_said(config: Config, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        await serve(config, process.Parent({}))
