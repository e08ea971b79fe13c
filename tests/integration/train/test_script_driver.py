"""Ranks that run a script: threads of the test, each on a worker of its own, with a control service on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from modelyard import codec, keys
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact
from modelyard.jobs.training import Checkpoints, Code
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.fence import NONE, Record
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Finished, Hello, Saved
from modelyard.train.control.store import Store
from modelyard.train.elastic.member import Member
from modelyard.train.elastic.orders import StoppedError
from modelyard.train.failure import RecipeError
from modelyard.train.loop import Ending
from modelyard.train.position import Position
from modelyard_worker.trainer.rank import _tell_of
from modelyard_worker.trainer.script import execution, listing, sharing
from modelyard_worker.trainer.script.driver import WITHOUT_VERSION, ScriptDriver
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.keeping import ScriptKeeping
from modelyard_worker.trainer.script.outcome import Outcome
from modelyard_worker.trainer.script.stall import Stall
from modelyard_worker.trainer.script.terms import ScriptTerms
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.control.controls import Control
from tests.integration.train.control.members import AGREEMENT, JOB, SECRET
from tests.integration.train.sites import site_of
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

    def __init__(self, control: Control, directory: Path, site: Site) -> None:
        self.control = control
        self.site = site
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

    def rank(self, worker: str, max_restarts: int = 3, stall_s: float = 0.0) -> asyncio.Future[Ending]:
        """Start one on a worker; what comes of it."""
        folder = self.folder(worker)
        if not folder.shared.exists():
            folder.output.mkdir(parents=True)
            folder.code.mkdir()
            (folder.code / "train.py").write_text(self._source)
        sent = self._directory / "sent"
        sent.mkdir(exist_ok=True)
        (sent / "train.py").write_text(self._source)
        scratch = self._directory / f"{worker}-scratch"
        scratch.mkdir()
        code = Code(Artifact("c" * 64), "train.py", (("lr", "0.1"), ("flag", "")), max_restarts)
        environ = {"MODELYARD_OUTPUT": str(folder.output), "PYTHONFAULTHANDLER": "1"}
        terms = ScriptTerms(JOB, code, "cpu", folder, scratch, environ, stall_s)
        member = Member(Hello(JOB, f"{worker}/1", SECRET, "127.0.0.1", AGREEMENT), lambda: self.control.address)
        outcome = Outcome(CHARTER, folder.output, scratch / "outcome", self.registry.publish)
        site = replace(self.site, scratch=scratch / "checkpoints")
        keeping = ScriptKeeping(site, folder, sent, Checkpoints(0, 0.05), partial(_tell_of, member))
        self.drivers.append(ScriptDriver(member, terms, outcome, keeping))
        run = asyncio.ensure_future(asyncio.to_thread(self.drivers[-1].run))
        self._runs.append(run)
        return run

    async def ended(self) -> None:
        """Wait until all have said how they ended, as a control process does that tells them so."""
        await asyncio.wait_for(self.control.service.ended.wait(), 120)
        self.control.service.dismiss()
        await asyncio.wait(self._runs, timeout=120)

    def begun(self, worker: str, rank: int, world: int | str) -> bool:
        return (self.folder(worker).code / f"begun-{rank}-{world}").exists()

    async def close(self) -> None:
        self.control.service.stop("the test is over", save=False)
        await self.ended()
        await asyncio.gather(*self._runs, return_exceptions=True)
        await self.control.close()


@pytest.fixture
async def scripts(etcd: Etcd, server: RegistryServer, tmp_path: Path) -> AsyncIterator[Scripts]:
    async with site_of(lambda: [server.endpoint], tmp_path) as site:
        made = Scripts(Control(etcd), tmp_path, site)
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


COUNT = """
snapshot = Path("snapshot")
begun = int(snapshot.read_text()) if snapshot.exists() else 0
Path(f"begun-{rank}-{world}-{begun}").touch()
if rank == 0 and not begun:
    Path("new").write_text("7")
    Path("new").replace(snapshot)
while not begun:
    time.sleep(0.02)
"""


async def test_when_the_job_is_stopped_and_other_workers_take_it_they_have_the_files(
    scripts: Scripts, etcd: Etcd, tmp_path: Path
) -> None:
    await scripts.serve(2, 2, SAVE.replace('"snapshot"', 'f"ended-{rank}"') + COUNT)
    runs = [scripts.rank("w0"), scripts.rank("w1")]
    await eventually(lambda: [*tmp_path.glob("w?/shared/code/snapshot")])
    await eventually(lambda: [*tmp_path.glob("w?/shared/code/begun-1-2-0")])
    scripts.control.service.stop("it is paused")
    await scripts.ended()
    assert [type(run.exception()) for run in runs] == [StoppedError] * 2
    await scripts.control.service.conclude()
    await scripts.control.close()
    await etcd.delete(scripts.control.key)
    others = Scripts(Control(etcd), tmp_path / "others", scripts.site)
    scripts.control = others.control  # that the fixture closes
    (tmp_path / "others").mkdir()
    await others.serve(2, 2, COUNT)
    runs = [others.rank("w2"), others.rank("w3")]
    await others.ended()
    assert [run.result() for run in runs] == [Ending.FINISHED] * 2
    for name in ("begun-1-2-7", "ended-0", "ended-1"):
        assert (others.folder("w3").code / name).exists()
    checkpoint = others.control.progress.saved
    assert checkpoint
    assert checkpoint.position.step > len(checkpoint.before) > 0  # of both runs


async def test_the_job_is_stopped_while_files_are_shared(
    scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (execution, sharing):
        monkeypatch.setattr(module, "QUIET_S", 0.05)
    monkeypatch.setattr(execution, "SHARE_S", 0.02)
    monkeypatch.setattr(sharing, "PIECE_BYTES", 1)
    await scripts.serve(
        2,
        2,
        """
if rank == 0:
    Path("large").write_text("x" * 20_000)
"""
        + WAIT,
    )
    runs = [scripts.rank("w0"), scripts.rank("w1")]
    await eventually(lambda: [*tmp_path.glob("*-scratch/arriving-*/code/large")])
    scripts.control.service.stop("it is paused")
    await scripts.ended()
    assert [type(run.exception()) for run in runs] == [StoppedError] * 2
    saved = scripts.control.progress.saved
    assert saved
    _, files = await asyncio.to_thread(scripts.drivers[0]._keeping._store.read, saved.name)
    assert "code/large" in files


async def test_what_one_writes_is_saved_while_it_runs(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (execution, sharing):
        monkeypatch.setattr(module, "QUIET_S", 0.05)
    monkeypatch.setattr(execution, "SHARE_S", 0.02)
    await scripts.serve(1, 1, COUNT)
    scripts.rank("w0")
    await eventually(lambda: scripts.control.progress.saved)
    assert scripts.begun("w0", 0, "1-0")  # the same start


async def test_a_checkpoint_that_is_not_needed_any_more_is_not_waited_for(
    scripts: Scripts, etcd: Etcd, tmp_path: Path
) -> None:
    async with site_of(list, tmp_path) as scripts.site:
        last = Record(replace(NONE, checkpoint=Saved(Position(1, 0, 5), "d" * 64)))
        await etcd.put(keys.training_formation(JOB), codec.encode(last))
        await scripts.serve(1, 2, WAIT)
        scripts.rank("w0")
        progress = scripts.control.progress
        await eventually(lambda: progress.waits.reason)
        assert progress.waits.reason == "its checkpoint is being read: no registry is live"
        scripts.folder("w1").record.parent.mkdir()
        listing.write(scripts.folder("w1").record, listing.Record(5))
        scripts.rank("w1")  # it has what the checkpoint has
        await eventually(partial(scripts.begun, "w0", 0, 2))
        assert scripts.control.membership.leads("w0/1")
        assert not progress.waits.reason


async def test_scripts_that_all_hang_fail_the_job_with_where_they_are(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SHARE_S", 0.02)
    source = """
def deadlock():
    import threading
    threading.Event().wait()

if rank == 1:
    deadlock()
"""
    await scripts.serve(2, 2, source)
    runs = [scripts.rank("w0", stall_s=1.0), scripts.rank("w1", stall_s=1.0)]
    await scripts.ended()
    assert {type(run.exception()) for run in runs} == {RecipeError, StoppedError}
    failed = scripts.control.progress.failed
    assert failed
    assert failed.reason == "train.py: for 1 s no rank printed, changed a file, or computed: it hangs"
    assert "rank 1:" in failed.traceback
    assert "in deadlock" in failed.traceback
    assert "rank 0:" not in failed.traceback


async def test_one_that_waits_for_another_that_works_does_not_hang(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "SHARE_S", 0.02)
    source = """
if rank == 0:
    while sum(Path(f"../../../looks").exists() for _ in range(10_000)) == 0:
        pass
"""
    looks = 0

    def look(stall: Stall) -> bool:
        nonlocal looks
        found = whole(stall)
        looks += found
        return found

    whole = Stall.look
    monkeypatch.setattr(Stall, "look", look)
    await scripts.serve(2, 2, source + WAIT.replace("True", "rank == 1 and not Path('../../../looks').exists()"))
    scripts.rank("w0", stall_s=30.0)  # on a machine that has other things to do it gets no time now and then
    scripts.rank("w1", stall_s=0.5)
    await eventually(lambda: looks > 3)
    (scripts.folder("w0").shared.parent.parent / "looks").touch()
    await scripts.ended()
    assert scripts.control.progress.finished
    assert not scripts.control.progress.failed


async def test_a_process_that_has_begun_nothing_has_nothing_to_end(scripts: Scripts) -> None:
    await scripts.serve(2, 2, WAIT)
    run = scripts.rank("w0")
    scripts.drivers[0].terminate()
    assert not run.done()
