"""Checkpoints that two ranks save together into the artifact store of a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from modelyard.errors import DataLossError
from modelyard.jobs.checkpoints import uploads_of
from modelyard.jobs.training import Checkpoints
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.group import Group
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from modelyard.train.state import TrainingState
from modelyard.train.step import Training
from modelyard_worker.trainer.checkpoints import Keeping
from modelyard_worker.trainer.host import SAVING, JobHost, Press
from modelyard_worker.trainer.waiting import Waiting
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.test_keeping import state_at
from tests.unit.train.elastic import groups
from tests.waiting import eventually

T = TypeVar("T")
KEPT = 2


class Half(TrainingState):
    """Rank 0 has the weight of a layer, rank 1 its bias."""

    @classmethod
    def at(cls, rank: int, step: int) -> Half:
        module = nn.ParameterDict({str(rank): nn.Parameter(torch.full((2,), float(step)))})
        return cls(module, torch.optim.SGD(module.parameters(), 0.1), position=Position(step, 1, step))

    def destination(self, key: str, like: torch.Tensor) -> torch.Tensor | None:
        others = key.startswith("module/") and key.removeprefix("module/") not in self.module.state_dict()
        return None if others else super().destination(key, like)

    def _load_model(self, values: dict[str, Any]) -> None:
        own = self.module.state_dict()
        self.module.load_state_dict({name: values["module"][name] for name in own})

    @property
    def weight(self) -> float:
        (value,) = self.module.state_dict().values()
        return float(value[0])


class Pair:
    """Two ranks that share a state, each with a store of its own."""

    def __init__(self, threads: groups.Ranks, site: Site, absent: Site, addresses: list[str]) -> None:
        self.threads = threads
        self.site, self.absent, self.addresses = site, absent, addresses  # those of the absent one
        self.told: list[Saved | Unsaved] = []
        self._begun: list[Group] = []
        self.begin(None)

    def begin(self, known: Saved | None, *, away: bool = False) -> None:
        """As new processes, in another formation; `away`: of the second one the registry."""
        self._away = away
        self.groups = self.threads.groups(2)
        agreements = self.threads.groups(2)
        self._begun += [*self.groups, *agreements]
        self.keepings = [self._keeping(group, agreements[group.rank], known) for group in self.groups]

    def _keeping(self, group: Group, other: Group, known: Saved | None) -> Keeping:
        site = self.absent if self._away and group.rank else self.site
        scratch = self.scratch(group.rank)
        keeping = Keeping(replace(site, scratch=scratch), Checkpoints(keep_last=KEPT), self.told.append)

        def said_by_first(said: bool) -> bool:
            flag = torch.tensor([said])
            other.broadcast(flag, 0)
            return bool(flag)

        keeping.enter(group.rank, known)
        keeping.share(Ranks(group, said_by_first))
        return keeping

    def scratch(self, rank: int) -> Path:
        """The directory of a rank."""
        return self.site.scratch / f"{self.groups[rank].number}-{rank}"

    async def all(self, call: Callable[[int, Keeping], T]) -> list[T]:
        """What a call returns on each."""
        begun = [asyncio.wrap_future(self.threads.begin(partial(call, *each))) for each in enumerate(self.keepings)]
        return await asyncio.gather(*begun)

    def close(self) -> None:
        """Have nobody wait for anything, and nothing of the groups be left."""
        for group in self._begun:
            group.drop()
        assert all(group.gone(30) for group in self._begun)

    async def save(self, *steps: int) -> None:
        for step in steps:
            await self.all(lambda rank, keeping, step=step: keeping.save(Half.at(rank, step)))  # type: ignore[misc]
            await self.all(lambda _, keeping: keeping.settle())

    async def restored(self, saved: Saved) -> list[tuple[float, int]]:
        """The weight and the step that each goes on from."""

        def restore(rank: int, keeping: Keeping) -> tuple[float, int]:
            state = Half.at(rank, 0)
            keeping.restore(saved, state)
            return state.weight, state.position.step

        return await self.all(restore)


@pytest.fixture
def threads() -> Iterator[groups.Ranks]:
    started = groups.Ranks()
    yield started
    started.close()


@pytest.fixture
async def pair(threads: groups.Ranks, server: RegistryServer, tmp_path: Path) -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:

        def site(addresses: list[str]) -> Site:
            source, storing = RegistrySource(lambda: addresses), Storing(lambda: addresses, patience_s=0.2)
            for one in (source, storing):
                stack.push_async_callback(one.close)
            return Site(BlockingSource(source, loop, 0.2), storing, loop, tmp_path, "acme", uploads_of("job-1"))

        absent = ["127.0.0.1:1"]
        pair = Pair(threads, site([server.endpoint]), site(absent), absent)
        yield pair
        pair.close()


async def test_the_parts_are_one_checkpoint_and_rank_0_tells_of_it(pair: Pair) -> None:
    await pair.save(1, 2, 3)
    names = [told.name for told in pair.told if isinstance(told, Saved)]
    assert pair.told[2:] == [Saved(Position(3, 1, 3), names[2], (names[1],))]
    assert len(names) == len(pair.told) == 3
    pair.begin(pair.told[-1])  # type: ignore[arg-type]
    assert await pair.restored(Saved(Position(3), names[2])) == [(3.0, 3)] * 2
    await pair.save(4)
    last = pair.told[-1]
    assert isinstance(last, Saved)
    assert last.before == (names[2],)


async def test_where_the_part_of_one_is_damaged_all_go_on_from_the_one_before(
    pair: Pair, server: RegistryServer
) -> None:
    await pair.save(1, 2)
    first, last = pair.told
    assert isinstance(first, Saved)
    assert isinstance(last, Saved)
    manifest = await asyncio.to_thread(pair.site.source.manifest, last.name)
    assert [file.path for file in manifest.files] == [".metadata", "__0_0.distcp", "__1_0.distcp", "checkpoint.json"]
    server.chunk(manifest.files[2].chunks[0]).unlink()
    pair.begin(last)
    assert await pair.restored(last) == [(1.0, 1)] * 2
    assert pair.told[2:] == [Saved(Position(1, 1, 1), first.name, (), last.name)] * 2
    server.chunk(first.name).unlink()
    pair.begin(last)
    with pytest.raises(DataLossError, match="none of 2 checkpoints is whole"):
        await pair.restored(last)


async def test_all_wait_for_rank_0_to_be_free_and_the_last_state_has_its_checkpoint(pair: Pair) -> None:
    """The first is not stored before the loop goes on, which waits here for the training threads."""
    states = [Half.at(rank, 1) for rank in range(2)]

    def begin(rank: int, keeping: Keeping) -> bool:
        keeping.save(states[rank])
        keeping.save(states[rank])  # postponed
        states[rank].position = Position(5, 1, 5)
        return keeping.due

    begun = [pair.threads.begin(partial(begin, *each)) for each in enumerate(pair.keepings)]
    assert not any(done.result(30) for done in begun)  # nothing runs in the loop meanwhile
    assert pair.told == []
    await pair.all(lambda rank, keeping: keeping.complete(states[rank]))
    assert [told.position.step for told in pair.told if isinstance(told, Saved)] == [1, 5]
    assert await pair.all(lambda rank, keeping: keeping.complete(states[rank])) == [True, False]
    assert len(pair.told) == 2


async def test_a_rank_that_is_lost_costs_what_is_postponed_too(pair: Pair) -> None:
    first, second = pair.keepings
    states = [Half.at(rank, 1) for rank in range(2)]

    def begin(rank: int, keeping: Keeping) -> None:
        keeping.save(states[rank])
        keeping.save(states[rank])

    for done in [pair.threads.begin(partial(begin, *each)) for each in enumerate(pair.keepings)]:
        done.result(30)
    for group in pair.groups:
        group.lose("a rank is lost")
    first.settle()  # in the loop's own thread, which stores nothing meanwhile
    second.settle()
    pair.begin(None)
    await pair.save(2)
    assert [told.position.step for told in pair.told if isinstance(told, Saved)] == [2]


async def test_at_the_end_all_wait_for_a_store_that_is_away(pair: Pair, server: RegistryServer) -> None:
    pair.begin(None, away=True)
    waits: list[Waits] = []

    def complete(rank: int, keeping: Keeping) -> None:
        nothing: Any = None
        press = Press(nothing, nothing, nothing, nothing, Waiting(waits.append, 0.01))
        training = Training(nothing, Half.at(rank, 1), nothing, nothing, None)
        JobHost(nothing, (training, nothing), keeping, press).complete()

    completed = asyncio.ensure_future(pair.all(complete))
    await eventually(lambda: len(waits) >= len(pair.groups) and pair.told)
    assert {told.reason.partition(": ")[0] for told in waits} == {SAVING}
    assert isinstance(pair.told[0], Unsaved)
    assert not completed.done()
    pair.addresses[:] = [server.endpoint]
    await completed
    assert [told.position.step for told in pair.told if isinstance(told, Saved)] == [1]
    assert waits[-1] == Waits()


async def test_what_cannot_be_stored_at_the_end_is_not_saved_by_rank_0_alone(pair: Pair) -> None:
    states = [Half.at(rank, 1) for rank in range(2)]
    pair.scratch(1).touch()  # no directory
    assert not any(await pair.all(lambda rank, keeping: keeping.complete(states[rank])))
    (failed,) = pair.told
    assert isinstance(failed, Unsaved)
    alone = asyncio.wrap_future(pair.threads.begin(lambda: pair.keepings[0].complete(state_at(1))))
    assert await alone is False
    assert len(pair.told) == 1


async def test_rank_0_says_whether_one_is_begun(pair: Pair) -> None:
    """Another rank may be free already, or not yet."""
    keeping = pair.keepings[1]
    keeping.share(Ranks(pair.groups[1], lambda said: True))
    keeping.save(Half.at(1, 1))
    assert not keeping._is_busy
    assert keeping._postponed is not None


async def test_who_cannot_read_now_has_all_try_later(pair: Pair) -> None:
    await pair.save(1)
    (saved,) = pair.told
    assert isinstance(saved, Saved)
    pair.begin(saved, away=True)
    with pytest.raises(GroupLost, match="cannot be read yet"):
        await pair.restored(saved)
