"""The directory that the ranks of a script share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.errors import NotFoundError
from modelyard.jobs.dataset import Dataset
from modelyard.jobs.training import TrainingData
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard_worker.trainer.script.folder import ScriptFolder


@pytest.fixture
def source() -> Iterator[BlockingSource]:
    """Of a registry that nobody asks: these data are at URLs."""
    loop = asyncio.new_event_loop()
    yield BlockingSource(RegistrySource(list), loop, 0.0)
    loop.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code/net").mkdir(parents=True)
    for name in ("train.py", "net/layers.py"):
        (tmp_path / "code" / name).write_text(name)
        (tmp_path / "code" / name).chmod(0o444)  # as artifacts are kept
    return tmp_path / "code"


def at(path: Path) -> Dataset:
    return Dataset(url=f"file://{path}")


def test_the_code_is_copied_once_and_can_be_changed(tmp_path: Path, code: Path, source: BlockingSource) -> None:
    folder = ScriptFolder(tmp_path / "job")
    assert folder.prepare(code, TrainingData(), source) == {"MODELYARD_OUTPUT": str(folder.output)}
    assert (folder.code / "train.py").stat().st_mode & 0o200
    (folder.code / "train.py").write_text("changed")
    (folder.code / "snapshot.pt").touch()
    ScriptFolder(tmp_path / "job").prepare(code, TrainingData(), source)
    assert (folder.code / "train.py").read_text() == "changed"
    assert (folder.code / "net/layers.py").read_text() == "net/layers.py"
    assert (folder.code / "snapshot.pt").exists()
    assert folder.output.is_dir()


def test_datasets_are_files(tmp_path: Path, code: Path, source: BlockingSource) -> None:
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "images/cat/1.png").write_bytes(b"png")
    (tmp_path / "held_out.csv").write_bytes(b"x\n1\n")
    data = TrainingData(at(tmp_path / "images"), at(tmp_path / "held_out.csv"))
    named = ScriptFolder(tmp_path / "job").prepare(code, data, source)
    assert (Path(named["MODELYARD_DATA"]) / "cat/1.png").read_bytes() == b"png"
    assert (Path(named["MODELYARD_VALIDATION"]) / "held_out.csv").read_bytes() == b"x\n1\n"


def test_what_cannot_be_read_is_tried_anew(tmp_path: Path, code: Path, source: BlockingSource) -> None:
    folder, data = ScriptFolder(tmp_path / "job"), TrainingData(at(tmp_path / "rows.csv"))
    with pytest.raises(NotFoundError):
        folder.prepare(code, data, source)
    (tmp_path / "rows.csv").write_text("x")
    named = folder.prepare(code, data, source)
    assert (Path(named["MODELYARD_DATA"]) / "rows.csv").read_text() == "x"
    assert not (tmp_path / "job/unfinished").exists()


def test_ranks_of_a_worker_make_it_together(tmp_path: Path, code: Path, source: BlockingSource) -> None:
    data = TrainingData(at(code))
    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(ScriptFolder(tmp_path / "job").prepare, code, data, source) for _ in range(4)]
        assert len({str(one.result(30)) for one in made}) == 1
    assert (tmp_path / "job/data/train.py").read_text() == "train.py"
