"""What a rank makes of what was trained, on a real registry: a version of it, or a checkpoint and a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Version
from modelyard.errors import PreconditionError
from modelyard.etcd import Etcd
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.gang import Charter
from modelyard.jobs.training import Checkpoints, Code, Objective, TrainingData, TrainingSpec
from modelyard.rpc.publishing import Publishing
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train import TrainingOptions
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.control.waiting import Waits
from modelyard.train.course import EpochRecord
from modelyard.train.export.trained import Trained
from modelyard.train.local import training
from modelyard.train.loop import Ending
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.data import Opened
from modelyard_worker.trainer.exporting import Exported, Exporter
from modelyard_worker.trainer.host import JobHost, Press
from modelyard_worker.trainer.waiting import Waiting
from tests.integration.registry.remote import RegistryServer
from tests.unit.train.recipes import Small, pairs
from tests.waiting import eventually

TENANT = "acme"
SPEC = TrainingSpec(
    "numbers",
    Code(Artifact("c" * 64), "recipe"),
    TrainingData(Dataset(Artifact("d" * 64))),
    epochs=1,
    objective=Objective("acc@1", higher_is_better=True),
)


class Locked(Small):
    """Its model cannot be handed over to be exported, which is quick."""

    def model(self) -> Any:
        made: Any = super().model()
        made.lock = Lock()
        return made


class Counted(Exporter):
    """Counts."""

    def __init__(self, finished: Finished, code: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(code, loop)
        self._finished = finished

    def export(self, trained: Trained, directory: Path) -> Exported:
        self._finished.exports += 1
        return super().export(trained, directory)


class Finished:
    """A rank that has nothing left to train."""

    def __init__(self, server: RegistryServer, directory: Path, stack: AsyncExitStack) -> None:
        self.exports = 0
        self.training = training(Locked(), pairs(8), None, TrainingOptions())
        measured = {"loss": 0.5, "acc@1": 0.9}
        self.training.state.course.history.append(EpochRecord(0, 1, 8, measured, {}, best=True))
        self.told: list[object] = []
        self.waits: list[Waits] = []
        self.site = self._site(server, directory, stack)
        keeping = Keeping(self.site, Checkpoints(), self.told.append)
        exporter = Counted(self, directory, self.site.loop)
        self.registries, self.asked = [server.endpoint], 0
        publishing = Publishing(self._addresses, 0.0)
        stack.push_async_callback(publishing.close)
        waiting = Waiting(self.waits.append, 0.01)
        press = Press(publishing, self.site.loop, directory / "outcome", exporter, waiting)
        data = Opened(pairs(8), None, "")  # type: ignore[arg-type] # any dataset will do
        self._host = JobHost(Charter("job-1", TENANT, SPEC, "s"), (self.training, data), keeping, press)
        self._host.enter(0, None)

    def _site(self, server: RegistryServer, directory: Path, stack: AsyncExitStack) -> Site:
        self.stores = [server.endpoint]
        source, storing = RegistrySource(lambda: [server.endpoint]), Storing(lambda: self.stores, 0.0)
        for one in (source, storing):
            stack.push_async_callback(one.close)
        loop = asyncio.get_running_loop()
        return Site(BlockingSource(source, loop), storing, loop, directory / "checkpoints", TENANT)

    def _addresses(self) -> list[str]:
        self.asked += 1
        return self.registries

    async def conclude(self) -> str:
        return await asyncio.to_thread(self._host.conclude, Ending.FINISHED)


@pytest.fixture
async def finished(server: RegistryServer, tmp_path: Path) -> AsyncIterator[Finished]:
    async with AsyncExitStack() as stack:
        yield Finished(server, tmp_path, stack)


async def test_weights_are_published_with_the_reason_why_they_are_alone(finished: Finished, etcd: Etcd) -> None:
    assert await finished.conclude() == "1"
    assert await finished.conclude() == "1"  # once
    found = (await etcd.list(keys.versions("numbers"))).items
    (made,) = [codec.decode(Version, kv.value) for kv in found.values()]
    assert (made.format, made.tenant, made.lineage.job) == ("safetensors", TENANT, "job-1")
    assert made.description.startswith("trained by job job-1, seed 0; weights only, not exported: export: what was")
    assert made.metrics == {"loss": 0.5, "acc_1": 0.9}


async def test_the_end_has_a_checkpoint_before_it_is_exported(finished: Finished) -> None:
    finished.registries = []
    concluding = asyncio.ensure_future(finished.conclude())
    await eventually(lambda: finished.asked > 0)
    (saved,) = finished.told
    assert isinstance(saved, Saved)
    assert saved.position == finished.training.state.position
    finished.registries = finished.stores
    await concluding
    assert finished.told == [saved]


async def test_a_registry_that_is_away_is_waited_for(finished: Finished) -> None:
    there, finished.registries = finished.registries, []
    concluding = asyncio.ensure_future(finished.conclude())
    await eventually(lambda: finished.asked > 1)
    await eventually(lambda: finished.waits)
    (waits,) = finished.waits
    assert waits.reason == "its version is being made: no registry is live"
    assert 0 < waits.since_s <= time.time()
    finished.registries = there
    assert await concluding == "1"
    assert finished.exports == 1
    assert finished.waits == [waits, Waits()]


async def test_what_is_neither_published_nor_saved_is_not_said_to_be_saved(finished: Finished, etcd: Etcd) -> None:
    await etcd.put(keys.model("numbers"), codec.encode(Model("numbers", tenant="other")))
    finished.stores = []
    with pytest.raises(PreconditionError, match=r"nothing was published; no checkpoint of step 0 could be saved$"):
        await finished.conclude()
    assert all(isinstance(report, Unsaved) for report in finished.told)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Model("numbers", tenant="other"), "model 'numbers': expected one of tenant 'acme', it is one of 'other'"),
        (Model("numbers", tenant=TENANT, state=Lifecycle.DELETED, expire_time_s=1.0), "model 'numbers': it is deleted"),
    ],
)
async def test_a_name_that_was_lost_meanwhile_leaves_a_checkpoint(
    finished: Finished, etcd: Etcd, model: Model, reason: str
) -> None:
    await etcd.put(keys.model("numbers"), codec.encode(model))
    with pytest.raises(PreconditionError) as failed:
        await finished.conclude()
    assert failed.value.message.startswith(reason)
    assert failed.value.message.endswith(": nothing was published; a checkpoint of step 0 has the weights")
    assert (await etcd.list(keys.versions("numbers"))).items == {}
    (saved,) = finished.told
    assert isinstance(saved, Saved)
    store = ArtifactCheckpoints(finished.site, lambda _: None)
    _, values = await asyncio.to_thread(load, store, saved.name)
    module = finished.training.state.module.state_dict()
    assert all(values["module"][name].equal(value) for name, value in module.items())
