"""What the ranks of a script have on one worker: a directory that is there until the job has ended.

shared/code       a copy of the code: where the script runs, and leaves its snapshots
shared/output     what becomes the version's artifact
data, validation  the files of the job's datasets
shared.json       what `shared` was when the scripts were started last (sharing)
lock              held by the rank that makes one of these
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import urlsplit

from modelyard.catalogue import CHUNK_SIZE_BYTES
from modelyard.chunks import target_path
from modelyard.datasets.opening import is_directory
from modelyard.datasets.source import Source
from modelyard.jobs.dataset import Dataset
from modelyard.jobs.training import TrainingData
from modelyard.rpc.registry import BlockingSource
from modelyard_worker.trainer.data import content_of
from modelyard_worker.trainer.script.listing import Record, write


class ScriptFolder:
    """The directory of one job.

    Attributes:
        shared: what all workers have the same of whenever scripts are started.
        code: the directory that scripts run in.
        output: for what becomes of the job.
        record: see sharing.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is made yet."""
        self._path = path
        self.shared = path / "shared"
        self.code = self.shared / "code"
        self.output = self.shared / "output"
        self.record = path / "shared.json"

    def prepare(self, code: Path, data: TrainingData, source: BlockingSource) -> dict[str, str]:
        """Have all be there, as one of the ranks on this worker makes it; return the variables that name it.

        Args:
            code: the user's files.
            data: what is to be there.
            source: of artifacts.

        Raises:
            ModelyardError: the data cannot be read.
            OSError: the disk.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        named = {"MODELYARD_OUTPUT": self.output}
        with self._locked():
            self._make(self.shared, partial(_begin, code))
            for name, dataset in (("data", data.dataset), ("validation", data.validation)):
                if dataset is not None and dataset.is_given:
                    named[f"MODELYARD_{name.upper()}"] = self._path / name
                    self._make(self._path / name, partial(_fetch, dataset, source))
        return {name: str(path) for name, path in named.items()}

    def replace(self, directory: Path, record: Record) -> None:
        """Have another directory be `shared`. Killed meanwhile, this worker has one without a record, or none.

        Args:
            directory: on the same disk; it is moved.
            record: that it is to have.

        Raises:
            OSError: the disk.
        """
        with self._locked():
            self.record.unlink(missing_ok=True)
            if self.shared.exists():
                shutil.rmtree(self._path / "unfinished", ignore_errors=True)
                self.shared.rename(self._path / "unfinished")
            directory.rename(self.shared)
            write(self.record, record)
            shutil.rmtree(self._path / "unfinished", ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._path / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make(self, directory: Path, fill: Callable[[Path], None]) -> None:
        """Make a directory whole, if it is not there yet."""
        if directory.exists():
            return
        unfinished = self._path / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        fill(unfinished)
        unfinished.rename(directory)


def _begin(code: Path, directory: Path) -> None:
    shutil.copytree(code, directory / "code", copy_function=shutil.copyfile)
    (directory / "output").mkdir()


def _fetch(dataset: Dataset, source: BlockingSource, directory: Path) -> None:
    content = content_of(dataset, source)
    if is_directory(content):
        for path in content.paths():
            target = target_path(directory, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(content.open(path), target)
    else:
        name = urlsplit(dataset.url).path if dataset.url else content.name
        _copy(cast(Source, content), directory / (PurePosixPath(name).name or "data"))


def _copy(source: Source, target: Path) -> None:
    with target.open("wb") as file:
        for offset in range(0, source.size_bytes, CHUNK_SIZE_BYTES):
            file.write(source.read(offset, min(CHUNK_SIZE_BYTES, source.size_bytes - offset)))
