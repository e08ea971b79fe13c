"""A training job of tests: its control process and ranks as agents start them, on a real etcd and a real registry."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.chunks import chunks_of, target_path
from modelyard.deployment import Deployment, Placement
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import Charter, control_of, gang, ranks_of
from modelyard.jobs.training import Code, TrainingData, TrainingSpec
from modelyard.jobs.training_progress import TrainingReport
from modelyard.jobs.training_report import report_of
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.training.process import TrainingSettings
from modelyard_worker.training.seats import Gangs, TrainingSeat
from tests.children import children
from tests.integration.train import gated
from tests.waiting import eventually

JOB, TENANT = "job-1", "acme"
START_S = 120.0
SAMPLES = 50


def columns() -> dict[str, np.ndarray]:
    """Two columns to learn from, and the number of each row."""
    numbers = np.arange(SAMPLES)
    return {"a": np.sin(numbers).astype(np.float32), "b": (numbers / 50).astype(np.float32), "number": numbers}


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type] # numpy's own annotations
    return content.getvalue()


class Workshop:
    """One job on workers of one machine."""

    def __init__(self, etcd: Etcd, endpoint: str, registry: str, directory: Path) -> None:
        self._etcd = etcd
        self._endpoint = endpoint
        self._registries = [registry]
        self._directory = directory
        self._seats: dict[str, TrainingSeat] = {}
        self._gangs: dict[str, Gangs] = {}
        self._control = ""
        self.logs = RunnerLogs(directory / "logs")
        self.code = directory / "code"
        self.code.mkdir()
        shutil.copy(gated.__file__, self.code / "recipe.py")
        self.gate = directory / "gate"
        self.gate.mkdir()
        self.charter = Charter(
            JOB, TENANT, TrainingSpec("", Code(Artifact("c" * 64), ""), TrainingData(Dataset())), "s"
        )

    async def store(self, arrays: Mapping[str, np.ndarray]) -> Dataset:
        """Store a dataset."""
        storing = Storing(lambda: self._registries)
        digest = await storing.store_artifact("data.npz", npz(arrays), tenant=TENANT, upload="data")
        await storing.close()
        return Dataset(Artifact(digest))

    async def submit(self, **spec: object) -> None:
        """Write the charter: two columns, three epochs of four steps, unless told otherwise."""
        parameters = (("gate", str(self.gate)),)
        given = {
            "model": "numbers",
            "code": Code(Artifact("c" * 64), "recipe", parameters),
            "data": TrainingData(await self.store(columns()), target="number"),
            "epochs": 3,
            "batch_size": 13,
            "max_workers": 2,
            **spec,
        }
        await self.tell(replace(self.charter, spec=TrainingSpec(**given)))  # type: ignore[arg-type]

    async def tell(self, charter: Charter) -> None:
        self.charter = charter
        await self._etcd.put(keys.training_charter(JOB), codec.encode(charter))

    async def start(self, *workers: str) -> None:
        """Start the control process on the first worker, and a rank on each."""
        ranks, control = gang(self.charter, Resources(), 0.0)
        self._control = workers[0]
        names = {"control": (control, workers[0]), **{worker: (ranks, worker) for worker in workers}}
        await asyncio.gather(*(self._start(name, *what) for name, what in names.items()))

    async def _start(self, name: str, deployment: Deployment, worker: str) -> None:
        place = Placement(
            deployment.model, deployment.version, worker, deployment.manifest_digest, deployment.format, Resources(), 1
        )
        self._seats[name] = self._gangs_of(worker).seat(place, True)
        await self._seats[name].load(self.code)

    def _gangs_of(self, worker: str) -> Gangs:
        """What the agent of a worker keeps, whatever becomes of processes."""
        if worker not in self._gangs:
            self._gangs[worker] = Gangs(self._settings(worker), self._etcd)
        return self._gangs[worker]

    def _settings(self, worker: str) -> TrainingSettings:
        return TrainingSettings(
            worker,
            "127.0.0.1",
            etcd=self._endpoint,
            logs=self.logs,
            directory=self._directory / worker,
            registries=lambda: self._registries,
            allows_code=True,
            environ={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )

    async def report(self) -> TrainingReport:
        found = await self._etcd.get(keys.training_report(JOB))
        return report_of(found.value) if found else TrainingReport()

    async def ends(self) -> TrainingReport:
        """Wait until the control process has said how it ended."""

        async def over() -> bool:
            report = await self.report()
            return bool(report.finished or report.failed or report.stopped)

        await eventually(over, START_S)
        return await self.report()

    async def at_gate(self, count: int) -> list[int]:
        """Wait until so many ranks are in the midst of their third step; return their pids."""
        await eventually(lambda: len(self._waiting()) == count, START_S)
        return self._waiting()

    def _waiting(self) -> list[int]:
        return [int(path.name) for path in self.gate.iterdir() if path.name.isdigit()]

    def open_gate(self) -> None:
        (self.gate / "open").touch()

    def processes(self) -> list[psutil.Process]:
        """Those of the job that live."""
        return children("modelyard_worker.trainer", "modelyard.train.control")

    async def replaced(self) -> str:
        """Start anew, as an agent does, the first process that is to be; return how it ended."""
        waits = {name: asyncio.ensure_future(seat.lost()) for name, seat in self._seats.items()}
        try:
            done, _ = await asyncio.wait(waits.values(), timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits.values():
                wait.cancel()
        name = next(name for name, wait in waits.items() if wait in done)
        await self._seats[name].leave()
        ranks, control = gang(self.charter, Resources(), 0.0)
        await self._start(name, *((control, self._control) if name == "control" else (ranks, name)))
        return waits[name].result().reason

    def losses(self) -> list[asyncio.Future[object]]:
        """What each place would be replaced for: not done while there is nothing."""
        return [asyncio.ensure_future(seat.lost()) for seat in self._seats.values()]

    def log(self) -> str:
        return (self.logs.tail([str(ranks_of(JOB)), str(control_of(JOB))], 1 << 20) or b"").decode()

    async def fetched(self, digest: str) -> Path:
        """The files of an artifact, from the registry."""
        source = RegistrySource(lambda: self._registries)
        blocking = BlockingSource(source, asyncio.get_running_loop())
        directory = self._directory / digest
        manifest = await source.manifest(digest)
        for file in manifest.files:
            path = target_path(directory, file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            parts = [await asyncio.wrap_future(blocking.fetch(chunk)) for chunk in chunks_of(file)]
            path.write_bytes(b"".join(parts))
        await source.close()
        return directory

    async def close(self) -> None:
        for seat in self._seats.values():
            await seat.leave()
