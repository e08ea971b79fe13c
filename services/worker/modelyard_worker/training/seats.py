"""The processes of training jobs as an instance keeper has them: a place is loaded, is lost, and is left."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from modelyard import codec, keys
from modelyard.catalogue import Signature
from modelyard.deployment import Member, Placement
from modelyard.etcd import Etcd, Mirror
from modelyard.jobs import gang
from modelyard.jobs.gang import Charter, job_of
from modelyard.jobs.training_progress import TrainingReport
from modelyard.jobs.training_report import report_of
from modelyard.train.control.reporting import is_over
from modelyard_worker.gpus import Gpus
from modelyard_worker.runner_client import Loaded
from modelyard_worker.runner_process import RunnerFailedError
from modelyard_worker.training import launch
from modelyard_worker.training.deaths import LONG_FOR_SCRIPT_S, LONG_S, RESTART, Deaths, End
from modelyard_worker.training.folders import JobFolders
from modelyard_worker.training.launch import Launch
from modelyard_worker.training.orders import Begin, Order
from modelyard_worker.training.process import DONE, TrainingProcess, TrainingSettings
from modelyard_worker.training.scratch import SHARED

T = TypeVar("T")
FORMATS = frozenset({gang.RANKS, gang.CONTROL})
DONE_S = 10.0
"""Within so long after a process has done its part etcd says that the job is over; else it is started anew."""


class Gangs:
    """Starts processes of training jobs as seats for them are asked for."""

    def __init__(self, settings: TrainingSettings, etcd: Etcd) -> None:
        self._settings = settings
        self._etcd = etcd
        self._gpus = Gpus(settings.gpus)
        self._seats: set[TrainingSeat] = set()
        self._deaths: dict[str, Deaths] = {}
        self._folders = JobFolders(settings.directory / SHARED, etcd, self._has)

    def announce(self) -> None:
        """Tell all processes which registries are live now."""
        for seat in self._seats:
            seat.tell()

    def seat(self, placement: Placement, alone: bool) -> TrainingSeat:
        """Give a rank or a control process its place."""
        job = job_of(placement.model)
        deaths = self._deaths.setdefault(job, Deaths())
        seat = TrainingSeat(placement, self._settings, self._etcd, self._gpus, (self._folders.folder(job), deaths))
        self._seats.add(seat)
        seat.left.add_done_callback(lambda _: self._forget(seat))
        return seat

    def _forget(self, seat: TrainingSeat) -> None:
        self._seats.discard(seat)
        if seat.is_ended and not self._has(seat.job):
            self._deaths.pop(seat.job, None)

    def _has(self, job: str) -> bool:
        return any(seat.job == job for seat in self._seats)


class TrainingSeat:
    """The place of one process.

    Attributes:
        job: its job's id.
        is_ended: whether it was left while its process lived, which has ended because it was to.
    """

    def __init__(
        self, placement: Placement, settings: TrainingSettings, etcd: Etcd, gpus: Gpus, kept: tuple[Path, Deaths]
    ) -> None:
        """`kept`: what is kept of the job: its folder (see Begin), and how its ranks died here."""
        self.is_ended = False
        self._settings = settings
        self._folder, self._deaths = kept
        self._gpus = gpus
        self._placement = gpus.assign(placement)
        self.job = job_of(placement.model)
        self._changed = asyncio.Event()
        self._records = Mirror(etcd, keys.training(self.job), bytes, self._note)
        self._following = asyncio.ensure_future(self._records.run())
        self._process: TrainingProcess | None = None
        self._begun_s = 0.0
        self._is_counted = False
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it has been left."""

    async def load(self, directory: Path) -> tuple[str, Loaded]:
        """Start the process; return once it is ready. It takes no calls: there is no endpoint.

        Raises:
            RunnerFailedError: it did not start, or may not.
        """
        if self._placement.format == gang.RANKS and not self._settings.allows_code:
            raise RunnerFailedError("this worker does not run users' code: it was started without --allow-code")
        launched = self._launch(self._begin(await self._charter(), directory))
        name = f"{self._placement.model}@{self._placement.version}"
        self._process = TrainingProcess(name, launched, self._settings)
        self._begun_s = time.monotonic()
        self._process.tell(launched.first)
        self.tell()
        ready = asyncio.ensure_future(self._process.ready.wait())
        await asyncio.wait([ready, self._process.life], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._process.ready.is_set() and self._process.life.result().status != DONE:
            raise RunnerFailedError(f"the training process did not start: {self._process.life.result()}")
        return "", Loaded(Signature(), self._placement.format, 0)

    async def _charter(self) -> Charter:
        """What the job's processes are told, once it is there."""
        while not (found := self._read("charter", Charter)):
            self._changed.clear()
            await self._changed.wait()
        return found

    def _begin(self, charter: Charter, directory: Path) -> Begin:
        number = uuid.uuid4().hex[:12]
        return Begin(
            charter,
            member=f"{self._settings.worker}/{number}",
            host=self._settings.advertise,
            directory=str(directory),
            scratch=str(self._settings.directory / f"{self.job}-{number}"),
            device=self._placement.options.device,
            folder=str(self._folder),
            failed=self._deaths.verdict(),
        )

    def _launch(self, begin: Begin) -> Launch:
        command = self._settings.commands[self._placement.format]
        if self._placement.format == gang.RANKS:
            return launch.rank(begin, command)
        return launch.control(begin, command, self._settings.etcd, self._settings.lease_s)

    def _note(self) -> None:
        self._changed.set()
        self.tell()

    def tell(self) -> None:
        """Tell the process what there is now."""
        if self._process is not None:
            self._process.tell(self._order())

    def _order(self) -> bytes:
        """What a rank is told of others, or the control process of the job's end; empty: nothing."""
        if self._placement.format == gang.RANKS:
            control = self._read("control", Member)
            address = control.address if control else ""
            return codec.encode(Order(control=address, registries=tuple(self._settings.registries())))
        charter = self._read("charter", Charter)
        return launch.stop(charter) if charter else b""

    def _read(self, name: str, kind: type[T]) -> T | None:
        data = self._records.items.get(name)
        return None if data is None else codec.understood(lambda d: codec.decode(kind, d), name, data)

    def memory_bytes(self) -> int:
        """What the process holds of the machine's memory."""
        return self._process.memory_bytes() if self._process else 0

    async def lost(self) -> RunnerFailedError:
        """Return why the process is to be replaced, once it is: not after it has done its part, and the job is over."""
        end = await asyncio.shield(self._process.life) if self._process else End("it was not started")
        if end.status == DONE:
            if await self._is_over():
                await asyncio.shield(self.left)
                return RunnerFailedError("the training process was left", loaded=True)
            end = replace(end, reason="but the job goes on")
        self._count(end)
        lost = RunnerFailedError(f"the training process ended: {end}", loaded=True)
        lost.of_jobs = end.status == RESTART
        return lost

    async def _is_over(self) -> bool:
        """Whether etcd says that the job has ended, or is to, now or soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DONE_S):
                while not self._reads_over():
                    self._changed.clear()
                    await self._changed.wait()
        return self._reads_over()

    def _reads_over(self) -> bool:
        charter = self._read("charter", Charter)
        return charter is None or bool(charter.stop) or is_over(self._report())

    def _report(self) -> TrainingReport:
        data = self._records.items.get("report")
        return (codec.understood(report_of, "report", data) if data else None) or TrainingReport()

    def _count(self, end: End) -> None:
        """Note once that a rank has died by itself."""
        if self._placement.format == gang.RANKS and not self._is_counted:
            self._is_counted = True
            lived_s = time.monotonic() - self._begun_s
            self._deaths.take(end, self._report().progress.step, long=lived_s > self._long_s)

    @property
    def _long_s(self) -> float:
        charter = self._read("charter", Charter)
        return LONG_FOR_SCRIPT_S if charter is not None and charter.spec.code.is_script else LONG_S

    async def leave(self) -> None:
        """End it; who is cancelled meanwhile does not end that."""
        if self.left.done():
            return
        self._following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._following
        if self._process is not None:
            self.is_ended = not self._process.life.done()
            await asyncio.shield(self._process.stop())
        if not self.left.done():
            self._gpus.give_back(self._placement)
            self.left.set_result(None)
