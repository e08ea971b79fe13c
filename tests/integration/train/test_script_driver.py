"""Ranks that run a script: threads of the test, each on a worker of its own, with a control service on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Code
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Finished, Hello
from modelyard.train.control.store import Store
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.failure import RecipeError
from modelyard.train.loop import Ending
from modelyard.train.position import Position
from modelyard_worker.trainer.script import execution, sharing
from modelyard_worker.trainer.script.driver import WITHOUT_VERSION, ScriptDriver
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.outcome import Outcome
from modelyard_worker.trainer.script.terms import ScriptTerms
from tests.integration.train.control.controls import Control
from tests.integration.train.control.members import AGREEMENT, JOB, SECRET
from tests.unit.worker.trainer.script.test_outcome import CHARTER, Registry
from tests.waiting import eventually

BEGIN = """
import os, sys, time
from pathlib import Path

rank, world, count = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"))
"""
WAIT = """
Path(f"begun-{rank}-{world}").touch()
while True:
    time.sleep(0.02)
"""
SAVE = """
import signal

def end(*_):
    Path("snapshot").write_text("saved")
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
"""


class Scripts:
    """Ranks of one job, and its control service."""

    def __init__(self, control: Control, directory: Path) -> None:
        self.control = control
        self.registry = Registry()
        self._directory = directory
        self._source = ""
        self._runs: list[asyncio.Future[Ending]] = []
        self.drivers: list[ScriptDriver] = []

    async def serve(self, least: int, most: int, source: str) -> None:
        self._source = BEGIN + source
        self._store = Store("127.0.0.1")
        await self.control.start(Limits(least, most, settle_s=0.05), f"127.0.0.1:{self._store.port}")

    def folder(self, worker: str) -> ScriptFolder:
        return ScriptFolder(self._directory / worker)

    def rank(self, worker: str, max_restarts: int = 3) -> asyncio.Future[Ending]:
        """Start one on a worker; what comes of it."""
        folder = self.folder(worker)
        if not folder.shared.exists():
            folder.output.mkdir(parents=True)
            folder.code.mkdir()
            (folder.code / "train.py").write_text(self._source)
        scratch = self._directory / f"{worker}-scratch"
        scratch.mkdir()
        code = Code(Artifact("c" * 64), "train.py", (("lr", "0.1"), ("flag", "")), max_restarts)
        terms = ScriptTerms(JOB, code, "cpu", folder, scratch, {"MODELYARD_OUTPUT": str(folder.output)})
        member = Member(Hello(JOB, f"{worker}/1", SECRET, "127.0.0.1", AGREEMENT), lambda: self.control.address)
        outcome = Outcome(CHARTER, folder.output, scratch / "outcome", self.registry.publish)
        self.drivers.append(ScriptDriver(member, terms, outcome))
        run = asyncio.ensure_future(asyncio.to_thread(self.drivers[-1].run))
        self._runs.append(run)
        return run

    async def ended(self) -> None:
        """Wait until all have said how they ended, as a control process does that tells them so."""
        await asyncio.wait_for(self.control.service.ended.wait(), 60)
        self.control.service.dismiss()
        await asyncio.wait(self._runs, timeout=60)

    def begun(self, worker: str, rank: int, world: int) -> bool:
        return (self.folder(worker).code / f"begun-{rank}-{world}").exists()

    async def close(self) -> None:
        self.control.service.stop("the test is over", save=False)
        await self.ended()
        await self.control.close()


@pytest.fixture
async def scripts(etcd: Etcd, tmp_path: Path) -> AsyncIterator[Scripts]:
    made = Scripts(Control(etcd), tmp_path)
    yield made
    await made.close()


async def test_all_that_it_is_told_and_a_version_comes_of_it(scripts: Scripts) -> None:
    source = """
Path(f"told-{rank}").write_text(" ".join([*sys.argv, os.environ["MASTER_PORT"], os.environ["LOCAL_RANK"]]))
if rank == 0:
    (Path(os.environ["MODELYARD_OUTPUT"]) / "model.safetensors").touch()
"""
    await scripts.serve(2, 2, source)
    runs = [scripts.rank("w0"), scripts.rank("w1")]
    await scripts.ended()
    assert [run.result() for run in runs] == [Ending.FINISHED] * 2
    assert scripts.control.progress.finished == Finished(Position(), "FINISHED", "1")
    assert len(scripts.registry.sent) == 1
    # What each has written all have then: it is told the same store.
    told = [(scripts.folder("w0").code / f"told-{rank}").read_text().split() for rank in range(2)]
    assert told[0] == told[1] == ["train.py", "--lr=0.1", "--flag", told[0][3], "0"]


async def test_what_one_writes_the_others_find_while_they_run(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (execution, sharing):
        monkeypatch.setattr(module, "QUIET_S", 0.05)
    monkeypatch.setattr(execution, "SHARE_S", 0.02)
    source = """
if rank == 0:
    Path("snapshot").write_text("0")
while not Path("snapshot").exists():
    time.sleep(0.02)
"""
    await scripts.serve(2, 2, source)
    scripts.rank("w0")
    scripts.rank("w1")
    await scripts.ended()
    assert scripts.control.progress.finished
    assert scripts.control.membership.group.number == 1


async def test_one_that_has_failed_is_started_again_with_all_others_and_finds_what_was_written(
    scripts: Scripts,
) -> None:
    source = """
if count == 0 and rank == 1:
    while not Path("snapshot").exists():
        time.sleep(0.02)
    sys.exit("out of luck")
if count == 0:
    Path("snapshot").write_text("0")
    time.sleep(600)
Path(f"found-{rank}").write_text(Path("snapshot").read_text())
"""
    await scripts.serve(2, 2, source)
    runs = [scripts.rank("w0"), scripts.rank("w1")]
    await scripts.ended()
    assert [run.result() for run in runs] == [Ending.FINISHED] * 2
    assert scripts.control.progress.finished == Finished(Position(), WITHOUT_VERSION, "")
    assert scripts.control.membership.group.number == 2
    assert [(scripts.folder(f"w{rank}").code / f"found-{rank}").read_text() for rank in range(2)] == ["0", "0"]


async def test_one_that_fails_again_and_again_fails_the_job_with_its_traceback(scripts: Scripts) -> None:
    source = """
Path(f"start-{rank}-{count}").touch()
if rank == 1:
    raise ValueError("odd")
time.sleep(600)
"""
    await scripts.serve(2, 2, source)
    runs = [scripts.rank("w0", 1), scripts.rank("w1", 1)]
    await scripts.ended()
    assert {type(run.exception()) for run in runs} == {RecipeError, StoppedError}
    failed = scripts.control.progress.failed
    assert failed
    expected = "train.py: rank 1 of 2: exit status 1: ValueError: odd (restarts: 1)"
    assert failed.reason == expected
    assert failed.traceback.splitlines()[-1] == "ValueError: odd"
    starts = {path.name for worker in ("w0", "w1") for path in scripts.folder(worker).code.glob("start-1-*")}
    assert starts == {"start-1-0", "start-1-1"}


async def test_one_that_comes_later_is_taken_in_and_that_is_no_failure(scripts: Scripts) -> None:
    await scripts.serve(1, 2, WAIT)
    first = scripts.rank("w0", 0)
    await eventually(partial(scripts.begun, "w0", 0, 1))
    (scripts.folder("w0").code / "snapshot").write_text("5")
    second = scripts.rank("w1", 0)
    await eventually(partial(scripts.begun, "w0", 0, 2))
    await eventually(partial(scripts.begun, "w1", 1, 2))
    assert (scripts.folder("w1").code / "snapshot").read_text() == "5"
    scripts.control.service.stop("it is cancelled")
    await scripts.ended()
    assert [type(run.exception()) for run in (first, second)] == [StoppedError] * 2
    assert scripts.control.progress.failed is None


async def test_a_script_is_asked_to_end_when_the_job_is_stopped(scripts: Scripts) -> None:
    await scripts.serve(1, 1, SAVE + WAIT)
    run = scripts.rank("w0")
    await eventually(partial(scripts.begun, "w0", 0, 1))
    scripts.control.service.stop("it is paused")
    await scripts.ended()
    assert isinstance(run.exception(), StoppedError)
    assert (scripts.folder("w0").code / "snapshot").read_text() == "saved"


async def test_a_script_is_asked_to_end_when_its_process_is_to_and_the_others_go_on(scripts: Scripts) -> None:
    await scripts.serve(1, 2, SAVE + WAIT)
    run = scripts.rank("w0")
    await eventually(partial(scripts.begun, "w0", 0, 1))
    scripts.rank("w1")
    await eventually(partial(scripts.begun, "w1", 1, 2))
    await eventually(partial(scripts.begun, "w0", 0, 2))
    (scripts.folder("w0").code / "snapshot").unlink()  # of the first start
    await asyncio.to_thread(scripts.drivers[0].terminate)
    assert (scripts.folder("w0").code / "snapshot").read_text() == "saved"
    assert await run is Ending.LEFT
    await eventually(lambda: scripts.control.membership.group.formation.members == ("w1/1",))
    await eventually(lambda: scripts.control.membership.group.whole)
    assert scripts.control.progress.failed is None
    await asyncio.to_thread(scripts.drivers[0].terminate)  # again: that is nothing


async def test_a_process_that_has_begun_nothing_has_nothing_to_end(scripts: Scripts) -> None:
    await scripts.serve(2, 2, WAIT)
    run = scripts.rank("w0")
    scripts.drivers[0].terminate()
    assert not run.done()
