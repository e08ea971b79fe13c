"""Checkpoints of a rank in the artifact store of a real registry: named, found damaged, and not stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelyard import keys
from modelyard.errors import DataLossError
from modelyard.etcd import Etcd
from modelyard.jobs.checkpoints import step_of, uploads_of
from modelyard.jobs.dataset import Artifact, Dataset
from modelyard.jobs.job import Job
from modelyard.jobs.spec import JobSpec
from modelyard.jobs.training import Checkpoints, Code, TrainingData, TrainingSpec
from modelyard.queue import Caps
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.session import Election
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard.train.state import TrainingState
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_scheduler.jobs.leader.context import Backends, LeaderContext
from modelyard_scheduler.jobs.leader.holds import JobHolds
from modelyard_worker.trainer.checkpoints import Keeping
from tests.integration.registry.remote import RegistryServer

JOB, TENANT, KEPT = "job-1", "acme", 3


def state_at(step: int) -> TrainingState:
    """A state of a linear model, whose weights are its step."""
    module = nn.Linear(2, 1)
    nn.init.constant_(module.weight, step)
    return TrainingState(module, torch.optim.SGD(module.parameters(), 0.1), position=Position(step, 1, step))


@dataclass
class Place:
    """A registry that can be away, and what keepings beside it tell."""

    server: RegistryServer
    directory: Path
    told: list[Saved | Unsaved] = field(default_factory=list)
    away: bool = False

    def addresses(self) -> list[str]:
        return ["127.0.0.1:1"] if self.away else [self.server.endpoint]

    def keeping(self, site: Site, name: str = "a") -> Keeping:
        """Of another process."""
        return Keeping(replace(site, scratch=self.directory / name), Checkpoints(keep_last=KEPT), self.told.append)


@pytest.fixture
def place(server: RegistryServer, tmp_path: Path) -> Place:
    return Place(server, tmp_path)


@pytest.fixture
async def site(place: Place) -> AsyncIterator[Site]:
    source, storing = RegistrySource(place.addresses), Storing(place.addresses, patience_s=0.2)
    loop = asyncio.get_running_loop()
    yield Site(BlockingSource(source, loop, 0.2), storing, loop, place.directory, TENANT, uploads_of(JOB))
    await source.close()
    await storing.close()


def save(keeping: Keeping, *steps: int, known: Saved | None = None) -> None:
    """As rank 0, one after the other."""
    keeping.enter(0, known)
    for step in steps:
        keeping.save(state_at(step))
        keeping.settle()


async def damage(place: Place, site: Site, name: str) -> None:
    """Have a chunk of a checkpoint be gone from the store."""
    manifest = await asyncio.to_thread(site.source.manifest, name)
    weights = next(file for file in manifest.files if file.path == "__0_0.distcp")
    place.server.chunk(weights.chunks[0]).unlink()


async def in_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


async def test_each_names_those_before_it_that_are_kept_whoever_saved_them(
    place: Place, site: Site, etcd: Etcd
) -> None:
    await in_thread(partial(save, place.keeping(site), 1, 2))
    last = place.told[-1]
    assert isinstance(last, Saved)
    await in_thread(partial(save, place.keeping(site, "b"), 3, 4, known=last))
    names = [report.name for report in place.told if isinstance(report, Saved)]
    assert place.told == [
        Saved(Position(1, 1, 1), names[0]),
        Saved(Position(2, 1, 2), names[1], (names[0],)),
        Saved(Position(3, 1, 3), names[2], (names[1], names[0])),
        Saved(Position(4, 1, 4), names[3], (names[2], names[1])),
    ]
    owner = keys.hold(keys.upload_owner(TENANT, ""))
    uploads = {key.removeprefix(owner).partition("/")[0] for key in await etcd.keys(owner)}
    assert sorted(step_of(JOB, upload) or 0 for upload in uploads) == [1, 2, 3, 4]


async def leading(etcd: Etcd) -> JobHolds:
    """As the scheduler that leads."""
    term = await Election(etcd, keys.LEADER, b"{}").campaign()
    nowhere: Any = None  # holds are in etcd alone
    backends = Backends(nowhere, nowhere, etcd, nowhere, nowhere)
    return JobHolds(LeaderContext(backends, term, "scheduler-0", Caps(), time.time, time.monotonic))


async def test_the_bytes_of_those_that_are_not_kept_are_removed_and_of_no_other(
    place: Place, site: Site, etcd: Etcd, tmp_path: Path
) -> None:
    await in_thread(partial(save, place.keeping(site), 1, 2, 3, 4))
    first, *_, last = [report for report in place.told if isinstance(report, Saved)]
    job = Job(JOB, TENANT, JobSpec(training=TrainingSpec("m", Code(Artifact("c" * 64), "r"), TrainingData(Dataset()))))
    holds = await leading(etcd)
    collector = Collector(etcd, ChunkStore(str(place.server.store), "collector"), "collector")
    await collector.collect()
    assert place.server.chunk(first.name).exists()

    await holds.hold_checkpoints(job, (last.name, *last.before), 4)
    await collector.collect()
    assert not place.server.chunk(first.name).exists()
    await holds.release_uploads(job)
    await collector.collect()
    for name in (last.name, *last.before):
        state, reader = state_at(0), place.keeping(site, f"reader-{name[:8]}")
        await in_thread(partial(reader.restore, Saved(Position(9), name), state))
        assert state.position.step > 1
    await holds.release(JOB)
    await collector.collect()
    assert not place.server.chunk(last.name).exists()


async def test_where_the_newest_is_damaged_the_one_before_is_gone_on_from(place: Place, site: Site) -> None:
    await in_thread(partial(save, place.keeping(site), 1, 2, 3))
    last = place.told[-1]
    assert isinstance(last, Saved)
    await damage(place, site, last.name)
    gone = Saved(Position(9), "0" * 64, (last.name, *last.before))
    state, keeping = state_at(0), place.keeping(site, "b")
    keeping.enter(0, gone)
    await in_thread(partial(keeping.restore, gone, state))
    assert state.position == Position(2, 1, 2)
    assert torch.all(torch.as_tensor(state.module.weight) == 2)
    instead = Saved(Position(2, 1, 2), last.before[0], last.before[1:], gone.name)
    assert place.told[3:] == [instead]
    # A formation that was made before the control process heard of it names the damaged one still.
    await in_thread(partial(save, keeping, 3, known=gone))
    again = place.told[-1]
    assert isinstance(again, Saved)
    assert again.before == last.before


async def test_where_none_is_whole_it_fails_and_says_why(place: Place, site: Site) -> None:
    await in_thread(partial(save, place.keeping(site), 1, 2))
    last = place.told[-1]
    assert isinstance(last, Saved)
    for name in (last.name, *last.before):
        await damage(place, site, name)
    state = state_at(0)
    with pytest.raises(
        DataLossError,
        match=r"go on from step 2, but none of 2 checkpoints is whole: .*not in the artifact store any more",
    ):
        await in_thread(partial(place.keeping(site, "b").restore, last, state))
    assert state.position == Position(0, 1, 0)
    assert len(place.told) == 2


async def test_a_registry_that_is_away_costs_the_checkpoint_alone(place: Place, site: Site) -> None:
    keeping = place.keeping(site)
    await in_thread(partial(save, keeping, 1))
    first = place.told[-1]
    assert isinstance(first, Saved)
    place.away = True
    await in_thread(partial(save, keeping, 2))
    (failed,) = place.told[1:]
    assert isinstance(failed, Unsaved)
    assert (failed.step, "registry" in failed.reason) == (2, True)
    with pytest.raises(GroupLost, match=r"the checkpoint cannot be read yet: .*registry"):
        await in_thread(partial(place.keeping(site, "b").restore, first, state_at(0)))
    place.away = False
    await in_thread(partial(save, keeping, 3))
    third = place.told[-1]
    assert isinstance(third, Saved)
    assert (third.position.step, third.before) == (3, (first.name,))
    state = state_at(0)
    await in_thread(partial(place.keeping(site, "b").restore, first, state))
    assert state.position.step == 1


async def test_a_disk_that_is_full_costs_the_checkpoint_alone(place: Place, site: Site) -> None:
    keeping = place.keeping(site)
    await in_thread(partial(save, keeping, 1))
    scratch = place.directory / "a"
    scratch.rmdir()
    scratch.touch()
    await in_thread(partial(save, keeping, 2))
    failed = place.told[-1]
    assert isinstance(failed, Unsaved)
    assert "NotADirectoryError" in failed.reason
    scratch.unlink()
    scratch.mkdir()
    await in_thread(partial(save, keeping, 3))
    assert isinstance(place.told[-1], Saved)


async def test_training_is_not_held_up_by_one_that_is_being_written(place: Place, site: Site) -> None:
    """The first is not stored before the loop goes on, which waits here for the training thread."""
    keeping = place.keeping(site)
    keeping.enter(0, None)
    assert not keeping.due
    keeping.save(state_at(1))
    later = state_at(2)
    keeping.save(later)
    assert not keeping.due
    assert place.told == []
    nn.init.constant_(later.module.weight, 5)  # type: ignore[arg-type]
    later.position = Position(5)
    await in_thread(keeping.settle)
    assert [report.position.step for report in place.told if isinstance(report, Saved)] == [1, 5]
    keeping.save(state_at(6))
    keeping.save(state_at(7))
    keeping.enter(1, None)
    assert not keeping.due
    await in_thread(keeping.settle)
    assert len(place.told) == 3
    keeping.enter(0, None)
    assert keeping.due
