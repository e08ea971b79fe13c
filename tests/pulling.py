"""A worker's puller, with reader processes that a test tells what they do with a task, and jobs for it."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from modelyard import codec
from modelyard.deployment import Instance, InstanceOptions, InstanceState
from modelyard.jobs.found import Found
from modelyard.jobs.job import Job
from modelyard.jobs.poison import retry_policy
from modelyard.jobs.spec import BatchInference, Dataset, JobSpec
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome
from modelyard.metrics import Family, Journal, families
from modelyard.queue import Caps, Counts, Task, TaskQueue, TaskStatus, Written
from modelyard.queue import Job as QueueJob
from modelyard.tasks import background
from modelyard_worker.jobs.puller import Puller
from modelyard_worker.jobs.reader_process import ReaderSettings
from tests.children import children
from tests.pages import Values, values
from tests.waiting import eventually

COMMAND = (sys.executable, "-m", "tests.fake_reader")
WORKER = "w0"


class Runner:
    """Stands for a runner process: it beats, until a test says otherwise."""

    def __init__(self) -> None:
        self.silent_s = 0.0
        self.is_killed = False
        self.instances = {"m@1", "beside@1"}

    async def kill(self) -> None:
        self.is_killed, self.silent_s = True, math.inf


class Worker:
    """A puller, and what its readers were told."""

    def __init__(
        self,
        directory: Path,
        queue: TaskQueue,
        *,
        extend_s: float = 5.0,
        idle_s: float = 60.0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.directory = directory
        self.registries = ["r0:1"]
        readers = ReaderSettings(os.environ, lambda: self.registries, [*command, str(directory / "orders")], idle_s)
        self.puller = Puller(WORKER, queue, readers, Journal(directory / "metrics"), extend_s)
        self._admitted: list[Admitted] = []
        self._running = background(self.puller.run())

    async def __aenter__(self) -> Self:
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(admitted.leave() for admitted in self._admitted))
        await self._running.__aexit__(None, None, None)

    def admit(self, model: str = "m", endpoint: str = "a:1") -> Admitted:
        """Have an instance READY."""
        options = InstanceOptions(max_batch_size=8, copies=2)
        instance = Instance(
            model, "1", WORKER, InstanceState.READY, options=options, execute_endpoint=endpoint, endpoint="a:0"
        )
        self._admitted.append(Admitted(self.puller, instance))
        return self._admitted[-1]

    @property
    def orders(self) -> list[str]:
        """What readers were told, in order."""
        found = self.directory / "orders"
        return found.read_text().splitlines() if found.exists() else []

    def readers(self) -> list[psutil.Process]:
        """The reader processes that live."""
        return children(str(self.directory / "orders"))

    def counted(self, family: Family) -> Values:
        """What was measured, by labels."""
        return values(self.directory / "metrics", family)


class Admitted:
    """An instance that is READY, and its runner."""

    def __init__(self, puller: Puller, instance: Instance) -> None:
        self.runner = Runner()
        self.site = puller.admit(instance, self.runner)

    async def leave(self) -> None:
        """Unload it."""
        await self.site.leave()


async def submit(
    queue: TaskQueue,
    behaviour: str,
    tasks: Sequence[str] = ("r0-4",),
    job: str = "j",
    model: str = "m",
    *,
    planned: bool = True,
    max_attempts: int = 3,
) -> None:
    """Have a job whose tasks readers do as said with; see tests/fake_reader.py."""
    spec = JobSpec(BatchInference(model, Dataset(url=behaviour), version="1"), max_attempts=max_attempts)
    record = Job(job, "acme", spec, JobState.RUNNING, found=Found(100, ()) if planned else None)
    asked = QueueJob(job, f"{model}@1", "acme", retry=retry_policy(spec))
    await queue.submit(asked, Written(codec.encode(record), "RUNNING"), Caps())
    await queue.enqueue(job, [Task(name) for name in tasks], Caps())


async def status(queue: TaskQueue, task: str = "r0-4", job: str = "j") -> TaskStatus:
    """A task as it stands."""
    (found,) = await queue.tasks(job, [task])
    assert found is not None
    return found


async def outcome(queue: TaskQueue, task: str = "r0-4", job: str = "j") -> Outcome | None:
    """What a task was finished with; None while it was not."""
    found = await status(queue, task, job)
    return codec.decode(Outcome, found.result) if found.state == "done" else None


TENANT = ("acme", "m", "1")
"""Tenant, model and version of what is counted."""


async def counts(queue: TaskQueue, job: str = "j") -> Counts:
    """A job's tasks."""
    return (await queue.job(job)).counts


async def counted(worker: Worker, outcome: str, count: int = 1) -> None:
    """Wait until so many attempts at least have ended like that."""
    await eventually(lambda: worker.counted(families.TASKS).get((*TENANT, outcome), 0) >= count)
