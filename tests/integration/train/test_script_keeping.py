"""The directory of a script in the artifact store of a real registry: saved, damaged, not stored, and put back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from modelyard import chunks
from modelyard.catalogue import File
from modelyard.errors import DataLossError, UnavailableError
from modelyard.jobs.checkpoints import uploads_of
from modelyard.jobs.training import Checkpoints
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.messages import Saved, Unsaved
from modelyard_worker.trainer.script import storing
from modelyard_worker.trainer.script.execution import LeavingError
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.keeping import ScriptKeeping
from modelyard_worker.trainer.script.listing import Record, read, write
from modelyard_worker.trainer.script.storing import Store
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.sites import site_of

HOUR_S = 3600.0


@dataclass
class Bench:
    """Workers of a job, and a registry that can be away."""

    server: RegistryServer
    directory: Path
    site: Site | None = None
    told: list[Saved | Unsaved] = field(default_factory=list)
    away: bool = False

    def addresses(self) -> list[str]:
        return ["127.0.0.1:1"] if self.away else [self.server.endpoint]

    @property
    def code(self) -> Path:
        return self.directory / "sent"

    def folder(self, worker: str, number: int = 0) -> ScriptFolder:
        """As a worker has it when scripts are to begin; `number`: of its record, 0: it has none."""
        folder = ScriptFolder(self.directory / worker)
        folder.output.mkdir(parents=True)
        folder.code.mkdir()
        for path in self.code.iterdir():
            (folder.code / path.name).write_bytes(path.read_bytes())
        if number:
            write(folder.record, Record(number))
        return folder

    def keeping(self, folder: ScriptFolder, job: str = "job-1") -> ScriptKeeping:
        assert self.site
        scratch = self.directory / f"scratch-{folder.shared.parent.name}"
        site = replace(self.site, scratch=scratch, upload=uploads_of(job))
        return ScriptKeeping(site, folder, self.code, Checkpoints(keep_last=2), self.told.append)

    @property
    def saved(self) -> list[Saved]:
        return [report for report in self.told if isinstance(report, Saved)]


@pytest.fixture
async def bench(server: RegistryServer, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(server, tmp_path)
    made.code.mkdir()
    (made.code / "train.py").write_text("code")
    (made.code / "empty.py").touch()
    async with site_of(made.addresses, tmp_path) as made.site:
        yield made


def save(keeping: ScriptKeeping, quiet_s: float = 0.0) -> None:
    keeping.save(quiet_s)
    keeping.settle()


def restored(bench: Bench, worker: str = "new", known: Saved | None = None, number: int = 0) -> dict[str, str]:
    """What a worker has that goes on from the last checkpoint."""
    folder = bench.folder(worker, number)
    keeping = bench.keeping(folder)
    keeping.enter(known or bench.saved[-1])
    assert keeping.restores(number)
    keeping.restore(number, lambda: None)
    return there(folder)


def there(folder: ScriptFolder) -> dict[str, str]:
    paths = [path for path in folder.shared.rglob("*") if path.is_file()]
    return {path.relative_to(folder.shared).as_posix(): path.read_text() for path in paths}


async def in_thread(work: Callable[[], object]) -> None:
    await asyncio.to_thread(work)


async def test_what_a_script_has_written_is_what_another_worker_has_then(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        (folder.code / "made").mkdir()
        for name in ("code/made/snapshot.pt", "output/model.onnx", "code/new\nline.txt", "code/train.py"):
            (folder.shared / name).write_text(name)
        (folder.code / "no bytes").touch()
        (folder.code / "link").symlink_to("train.py")
        os.mkfifo(folder.code / "pipe")
        save(bench.keeping(folder))
        expected = there(folder)
        del expected["code/link"]
        [last] = bench.saved
        assert (last.position.step, last.position.offset, last.before) == (1, 5, ())
        new = bench.folder("w1")
        (new.code / "stale").write_text("of nobody")
        keeping = bench.keeping(new)
        keeping.enter(last)
        keeping.restore(0, lambda: None)
        assert there(new) == expected
        assert read(new.record) == Record(5)
        assert not list(bench.directory.glob("scratch-*/*"))

    await in_thread(work)


async def test_what_is_as_it_was_is_neither_read_nor_sent_nor_saved_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        keeping = bench.keeping(folder)
        save(keeping)
        assert bench.told == []  # what it has is the job's code
        for number in range(3):
            (folder.code / f"{number}.pt").write_text(f"{number}")
        assert keeping.is_due
        save(keeping)
        assert not keeping.is_due
        monkeypatch.setattr(keeping, "_next_s", 0.0)
        assert not keeping.is_due
        save(keeping)
        assert len(bench.saved) == 1
        hashed: list[str] = []

        def note(name: str, content: Callable[[int], bytes]) -> File:
            hashed.append(name)
            return chunks.hashed(name, content)

        monkeypatch.setattr(storing, "hashed", note)
        (folder.code / "1.pt").unlink()
        (folder.code / "2.pt").write_text("changed")
        save(keeping)
        assert hashed == ["code/2.pt"]
        assert [(one.position.step, len(one.before)) for one in bench.saved] == [(1, 0), (2, 1)]
        assert restored(bench) == {
            "code/train.py": "code",
            "code/empty.py": "",
            "code/0.pt": "0",
            "code/2.pt": "changed",
        }

    await in_thread(work)


async def test_a_file_that_is_being_written_comes_back_as_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        snapshot_pt, old_ns = folder.code / "snapshot.pt", time.time_ns() - int(HOUR_S * 1e9)
        snapshot_pt.write_text("whole")
        for path in folder.shared.rglob("*"):
            os.utime(path, ns=(0, old_ns))
        save(bench.keeping(folder), 1.0)
        (folder.code / "other.pt").write_text("new")
        os.utime(folder.code / "other.pt", ns=(0, old_ns))
        with snapshot_pt.open("w") as file:
            file.write("ha")
            file.flush()
            os.utime(snapshot_pt, ns=(0, time.time_ns() + int(HOUR_S * 1e9)))
            (folder.code / "first.pt").write_text("never was whole")
            os.utime(folder.code / "first.pt", ns=(0, time.time_ns() + int(HOUR_S * 1e9)))
            another = bench.keeping(folder)  # of a process that knows of the checkpoint only
            another.enter(bench.saved[-1])
            save(another, 1.0)
        found = restored(bench)
        assert (found["code/snapshot.pt"], found["code/other.pt"]) == ("whole", "new")
        assert "code/first.pt" not in found

        def change(name: str, content: Callable[[int], bytes]) -> File:
            if name == "code/snapshot.pt":
                snapshot_pt.write_text("while it is read")
            return chunks.hashed(name, content)

        monkeypatch.setattr(storing, "hashed", change)
        (folder.code / "third.pt").write_text("3")
        save(another)
        found = restored(bench, "w2")
        assert (found["code/snapshot.pt"], found["code/third.pt"]) == ("whole", "3")

    await in_thread(work)


async def test_a_file_that_is_written_into_while_it_is_stored_comes_back_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        snapshot_pt = folder.code / "snapshot.pt"
        snapshot_pt.write_text(f"whole {time.time_ns()}")
        keeping = bench.keeping(folder)
        save(keeping)
        expected = snapshot_pt.read_text()
        whole = Store._store_files

        def store(self: Store, files: list[tuple[File, Path | None]], upload: str) -> None:
            monkeypatch.undo()
            with snapshot_pt.open("w") as file:
                file.write("ha")
            whole(self, files, upload)

        monkeypatch.setattr(Store, "_store_files", store)
        snapshot_pt.write_text(f"to be written over {time.time_ns()}")
        (folder.code / "other.pt").write_text("new")
        save(keeping)
        found = restored(bench)
        assert (found["code/snapshot.pt"], found["code/other.pt"]) == (expected, "new")

    await in_thread(work)


async def test_what_is_replaced_while_files_are_held_is_of_one_moment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)

        def replace_all(text: str) -> None:
            for name in ("a.pt", "b.pt", "c.pt"):
                (folder.code / "new").write_text(text)
                (folder.code / "new").replace(folder.code / name)

        replace_all("1")
        link, changes = os.link, iter(range(2, 4))

        def change(source: Path, target: Path, **options: bool) -> None:
            link(source, target, **options)
            if source.name == "b.pt" and (number := next(changes, 0)):
                replace_all(f"{number}")

        monkeypatch.setattr(os, "link", change)
        save(bench.keeping(folder))
        monkeypatch.undo()
        found = restored(bench)
        assert {found[f"code/{name}.pt"] for name in "abc"} == {"3"}

    await in_thread(work)


async def test_a_store_that_is_away_costs_the_checkpoint_alone(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        (folder.code / "snapshot.pt").write_text("1")
        keeping, bench.away = bench.keeping(folder), True
        assert keeping.is_due
        save(keeping)
        [report] = bench.told
        assert isinstance(report, Unsaved)
        assert (report.step, "registry" in report.reason) == (1, True)
        assert not keeping.is_due  # at once
        bench.away = False
        save(keeping)
        assert restored(bench)["code/snapshot.pt"] == "1"
        bench.away = True
        with pytest.raises(UnavailableError):
            restored(bench, "w2")

    await in_thread(work)


async def test_a_disk_that_is_full_costs_the_checkpoint_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        (folder.code / "snapshot.pt").write_text("1")

        def link(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "link", link)
        keeping = bench.keeping(folder)
        save(keeping)
        [report] = bench.told
        assert isinstance(report, Unsaved)
        assert "No space left" in report.reason
        assert not keeping.is_due

    await in_thread(work)


async def test_what_workers_have_is_gone_on_from_unless_the_checkpoint_is_later(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        (folder.code / "snapshot.pt").write_text("5")
        keeping = bench.keeping(folder)
        save(keeping)
        last = bench.saved[-1]
        fresh = bench.keeping(bench.folder("w1"))
        assert not fresh.restores(0)  # there is none
        fresh.enter(last)
        assert [fresh.restores(number) for number in (0, 4, 5, 6)] == [True, True, False, False]
        assert restored(bench, "w2", number=4)["code/snapshot.pt"] == "5"
        away = bench.folder("w3", 4)
        (away.code / "snapshot.pt").write_text("4")
        behind = bench.keeping(away)
        behind.enter(last)
        save(behind)
        assert bench.saved == [last]  # it has nothing to tell

    await in_thread(work)


async def test_of_another_job_the_place_in_time_says_nothing(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 1 << 30)
        (folder.code / "snapshot.pt").write_text("1")
        save(bench.keeping(folder))
        (bench.code / "train.py").write_text("mended")
        given = bench.saved[-1]
        given = replace(given, position=replace(given.position, offset=0))
        new = bench.folder("new")
        keeping = bench.keeping(new, "job-2")
        keeping.enter(given)
        keeping.restore(0, lambda: None)
        found = there(new)
        assert (found["code/snapshot.pt"], found["code/train.py"]) == ("1", "mended")
        assert read(new.record).number == 1
        assert not keeping.restores(1)
        (new.code / "snapshot.pt").write_text("2")
        save(keeping)
        assert (bench.saved[-1].position.step, bench.saved[-1].position.offset) == (2, 1)

    await in_thread(work)


async def test_where_the_last_is_damaged_the_one_before_is_taken_unless_workers_have_later_files(
    bench: Bench,
) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        keeping = bench.keeping(folder)
        for number in (5, 7):
            write(folder.record, Record(number))
            (folder.code / "snapshot.pt").write_text(f"damaged later, {time.time_ns()}")
            save(keeping)
        last = bench.saved[-1]
        assert bench.site
        file = next(one for one in bench.site.source.manifest(last.name).files if one.path == "files/code/snapshot.pt")
        bench.server.chunk(file.chunks[0]).unlink()
        later = bench.folder("w1", 6)
        (later.code / "snapshot.pt").write_text("6")
        has_later = bench.keeping(later)
        has_later.enter(last)
        has_later.restore(6, lambda: None)
        assert there(later)["code/snapshot.pt"] == "6"
        assert restored(bench, "w2", last)["code/snapshot.pt"].startswith("damaged later")
        instead = bench.saved[-1]
        assert (instead.position.step, instead.instead, instead.before) == (1, last.name, ())
        with pytest.raises(DataLossError, match="expected to go on from checkpoint 2, but none of 1 is whole"):
            restored(bench, "w3", replace(last, before=()))

    await in_thread(work)


async def test_what_was_broken_off_leaves_a_worker_as_it_was(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        (folder.code / "snapshot.pt").write_text("5")
        save(bench.keeping(folder))
        behind = bench.folder("w1", 4)
        keeping = bench.keeping(behind)
        keeping.enter(bench.saved[-1])

        def leave() -> None:
            raise LeavingError

        with pytest.raises(LeavingError):
            keeping.restore(4, leave)
        assert (read(behind.record), there(behind)) == (Record(4), {"code/train.py": "code", "code/empty.py": ""})

    await in_thread(work)


async def test_of_two_that_save_the_one_counts_that_the_control_process_knows(bench: Bench) -> None:
    def work() -> None:
        keepings = []
        for worker in ("w0", "w1"):
            folder = bench.folder(worker, 5)
            (folder.code / "snapshot.pt").write_text(worker)
            keepings.append(bench.keeping(folder))
            save(keepings[-1])
        first, second = bench.saved
        assert first.position == second.position
        keepings[0].enter(second)
        assert bench.saved == [first, second, second]  # what it would say again to a control process that comes
        (bench.directory / "w0/shared/code/snapshot.pt").write_text("later")
        save(keepings[0])
        assert (bench.saved[-1].position.step, bench.saved[-1].before) == (2, (second.name,))

    await in_thread(work)


async def test_thousands_of_files_are_one_checkpoint(bench: Bench) -> None:
    def work() -> None:
        folder = bench.folder("w0", 5)
        for number in range(2000):
            (folder.code / f"{number}.txt").write_text(f"{number % 50} of this run {os.getpid()}")
        keeping = bench.keeping(folder)
        save(keeping)
        assert len(bench.saved) == 1
        assert len(keeping._store.read(bench.saved[-1].name)[1]) == 2000

    await in_thread(partial(work))
