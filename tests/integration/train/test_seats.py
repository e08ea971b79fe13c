"""Processes of training jobs on a worker, on a real etcd: started, told, lost and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Member, Placement
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import RANKS, Charter, gang, job_of, ranks_of
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import TrainingProgress, TrainingReport
from modelyard.train.control.messages import Failed
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.runner_process import RunnerFailedError
from modelyard_worker.training import seats
from modelyard_worker.training.orders import Order
from modelyard_worker.training.process import TrainingSettings
from modelyard_worker.training.seats import Gangs, TrainingSeat
from tests.children import children
from tests.waiting import eventually

JOB = "job-1"
SPEC = TrainingSpec(
    "digits",
    Code(Artifact("c" * 64), "recipe:Digits"),
    TrainingData(Dataset(Artifact("d" * 64))),
    epochs=1,
    max_workers=2,
)
CHARTER = Charter(JOB, "default", SPEC, "secret")


def charter(then: str) -> Charter:
    """Of a rank that does something once it is ready."""
    return replace(CHARTER, spec=replace(SPEC, code=replace(SPEC.code, parameters=(("then", then),))))


class Bench:
    """Seats of one worker, whose processes write down what they are told."""

    def __init__(self, etcd: Etcd, directory: Path) -> None:
        self.etcd = etcd
        self.directory = directory
        self.said = directory / "said"
        self.said.mkdir()
        self.registries = ["127.0.0.1:1"]
        program = (sys.executable, "-m", "tests.trainer_program", str(self.said))
        self.settings = TrainingSettings(
            "w0",
            "127.0.0.1",
            etcd="",
            logs=RunnerLogs(directory / "logs"),
            directory=directory / "training",
            registries=lambda: self.registries,
            allows_code=True,
            environ={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            commands={RANKS: program},
        )
        self.seats: list[TrainingSeat] = []

    def gangs(self, *, allows_code: bool = True) -> Gangs:
        return Gangs(replace(self.settings, allows_code=allows_code), self.etcd)

    def seat(self, gangs: Gangs) -> TrainingSeat:
        ranks, _ = gang(CHARTER, Resources(), 0.0)
        seat = gangs.seat(
            Placement(ranks.model, ranks.version, "w0", ranks.manifest_digest, RANKS, Resources(), 1), True
        )
        self.seats.append(seat)
        return seat

    async def tell(self, charter: Charter = CHARTER) -> None:
        await self.etcd.put(keys.training_charter(JOB), codec.encode(charter))

    def orders(self) -> list[Order]:
        """What the processes were told, one after the other."""
        files = sorted(self.said.iterdir(), key=lambda file: file.stat().st_ctime)
        return [codec.decode(Order, line) for file in files for line in file.read_bytes().splitlines()]

    async def report(self, report: TrainingReport) -> None:
        await self.etcd.put(keys.training_report(JOB), codec.encode(report))

    def processes(self) -> list[psutil.Process]:
        return children("tests.trainer_program")


@pytest.fixture
async def bench(etcd: Etcd, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(etcd, tmp_path)
    yield made
    for seat in made.seats:
        await seat.leave()
    await etcd.delete(keys.training_charter(JOB))
    await etcd.delete(keys.training_control(JOB))
    await etcd.delete(keys.training_report(JOB))


async def test_a_rank_is_told_its_charter_and_what_changes(bench: Bench) -> None:
    gangs = bench.gangs()
    seat = bench.seat(gangs)
    loading = asyncio.ensure_future(seat.load(bench.directory))
    await bench.tell()
    endpoint, loaded = await loading
    assert (endpoint, loaded.platform) == ("", RANKS)
    assert seat.memory_bytes() > 0
    await bench.etcd.put(keys.training_control(JOB), codec.encode(Member("control", "127.0.0.1:2")))
    await eventually(lambda: [order.control for order in bench.orders() if order.control])
    bench.registries = ["127.0.0.1:3"]
    gangs.announce()
    await eventually(lambda: bench.orders()[-1].registries == ("127.0.0.1:3",))
    first, *changes = bench.orders()
    assert first.begin is not None
    assert first.begin.charter == CHARTER
    assert first.begin.member.startswith("w0/")
    assert Path(first.begin.scratch).is_dir()
    assert changes[-1] == Order(control="127.0.0.1:2", registries=("127.0.0.1:3",))
    await bench.etcd.delete(keys.training_control(JOB))
    await eventually(lambda: bench.orders()[-1].control == "")
    await seat.leave()
    assert bench.processes() == []
    assert not Path(first.begin.scratch).exists()


async def test_a_rank_that_dies_is_lost_and_the_next_has_another_name(bench: Bench) -> None:
    await bench.tell()
    gangs = bench.gangs()
    seat = bench.seat(gangs)
    await seat.load(bench.directory)
    bench.processes()[0].kill()
    assert (await seat.lost()).reason == "the training process ended: killed by SIGKILL"
    await seat.leave()
    await bench.seat(gangs).load(bench.directory)
    names = {order.begin.member for order in bench.orders() if order.begin}
    assert len(names) == 2


async def test_a_rank_that_is_stopped_is_killed(bench: Bench) -> None:
    await bench.tell()
    seat = bench.seat(bench.gangs())
    await seat.load(bench.directory)
    bench.processes()[0].send_signal(signal.SIGSTOP)
    assert "silent for" in (await seat.lost()).reason
    assert seat._process
    assert seat._process.life.result().is_blameless
    assert bench.processes() == []


async def test_who_says_that_it_is_done_is_started_anew_unless_the_job_is_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.tell(charter("end"))
    seat = bench.seat(bench.gangs())
    with monkeypatch.context() as patched:
        patched.setattr(seats, "DONE_S", 0.1)
        await seat.load(bench.directory)
        assert (await seat.lost()).reason == "the training process ended: exit status 0: but the job goes on"
    await bench.report(TrainingReport(finished="FINISHED"))
    again = bench.seat(bench.gangs())
    await again.load(bench.directory)
    await eventually(lambda: not bench.processes())
    losing = asyncio.ensure_future(again.lost())
    monkeypatch.setattr(seats, "DONE_S", 0.1)
    assert not (await asyncio.wait([losing], timeout=1.0))[0]
    await again.leave()
    assert (await losing).reason == "the training process was left"


async def test_what_a_rank_has_started_ends_with_it(bench: Bench) -> None:
    await bench.tell(charter("fork"))
    seat = bench.seat(bench.gangs())
    await seat.load(bench.directory)
    await eventually((bench.directory / "forked").exists)
    (rank,) = bench.processes()
    (child,) = rank.children()
    rank.kill()
    assert (await seat.lost()).reason == "the training process ended: killed by SIGKILL"
    await eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_what_a_rank_has_started_in_a_session_of_its_own_ends_with_it(bench: Bench) -> None:
    await bench.tell(charter("start a session"))
    seat = bench.seat(bench.gangs())
    await seat.load(bench.directory)
    await eventually((bench.directory / "started").exists)
    started = psutil.Process(int((bench.directory / "started").read_text()))
    (rank,) = bench.processes()
    rank.kill()
    await seat.lost()
    await eventually(lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE)


async def test_ranks_that_die_again_and_again_are_followed_by_one_that_says_so(bench: Bench) -> None:
    await bench.tell(charter("be killed"))
    await bench.report(TrainingReport(TrainingProgress(step=16)))
    gangs = bench.gangs()
    for _ in range(5):
        seat = bench.seat(gangs)
        await seat.load(bench.directory)
        await seat.lost()
        await seat.leave()
    assert [order.begin.failed for order in bench.orders() if order.begin] == [None] * 5
    await bench.seat(gangs).load(bench.directory)
    *_, last = [order.begin.failed for order in bench.orders() if order.begin]
    assert last == Failed("ranks died 5 times in a row at step 16, the last one: killed by SIGKILL (out of memory?)")


@pytest.mark.parametrize(("entry", "failed"), [("recipe:Digits", True), ("train.py", False)])
async def test_who_runs_a_script_got_on_when_it_has_lived_for_minutes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, entry: str, failed: bool
) -> None:
    monkeypatch.setattr(seats, "LONG_FOR_SCRIPT_S", 0.0)
    code = replace(SPEC.code, entry=entry, parameters=(("then", "be killed"),))
    await bench.tell(replace(CHARTER, spec=replace(SPEC, code=code)))
    gangs = bench.gangs()
    for _ in range(6):
        seat = bench.seat(gangs)
        await seat.load(bench.directory)
        await seat.lost()
        await seat.leave()
    *_, last = [order.begin.failed for order in bench.orders() if order.begin]
    assert (last is not None) == failed


async def test_what_a_rank_could_not_find_is_told_and_is_not_its_fault(bench: Bench) -> None:
    await bench.tell(charter("find nothing"))
    gangs = bench.gangs()
    for _ in range(6):
        seat = bench.seat(gangs)
        await seat.load(bench.directory)
        assert (await seat.lost()).reason == "the training process ended: exit status 75: no registry answers"
        await seat.leave()
    assert {order.begin.failed for order in bench.orders() if order.begin} == {None}


async def test_a_rank_that_does_not_start_says_how_it_ended(bench: Bench) -> None:
    await bench.tell(replace(CHARTER, spec=replace(SPEC, seed=13)))
    with pytest.raises(RunnerFailedError) as failed:
        await bench.seat(bench.gangs()).load(bench.directory)
    assert failed.value.reason == "the training process did not start: exit status 1"
    assert b"an unlucky number" in (bench.settings.logs.tail([str(ranks_of(JOB))], 1000) or b"")


async def test_code_of_users_is_run_where_that_is_allowed_only(bench: Bench) -> None:
    await bench.tell()
    with pytest.raises(RunnerFailedError) as failed:
        await bench.seat(bench.gangs(allows_code=False)).load(bench.directory)
    assert "--allow-code" in failed.value.reason
    assert bench.orders() == []


def test_a_gang_is_placed_by_its_own_name() -> None:
    ranks, control = gang(CHARTER, Resources(cpu=1.0), 5.0)
    assert (ranks.replicas, ranks.least, control.replicas) == (2, 1, 1)
    assert {job_of(ranks.model), job_of(control.model)} == {JOB}
    assert job_of("digits") == ""
