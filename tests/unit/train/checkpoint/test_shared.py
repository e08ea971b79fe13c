"""Ranks that save a state together, over groups that are lost: a checkpoint counts whole or not, and nobody waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.catalogue import File, Manifest
from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.elastic.group import Group
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost
from tests.unit.train.elastic import groups

ANSWER_S = 60.0


class Gated(DirectoryCheckpoints):
    """Stops where it is told to, until the gate opens."""

    def __init__(self, root: Path, stops_at: str = "") -> None:
        super().__init__(root)
        self._stops_at = stops_at
        self.reached, self.gate = threading.Event(), threading.Event()

    def _stop(self, where: str) -> None:
        if where == self._stops_at:
            self.reached.set()
            assert self.gate.wait(ANSWER_S)

    def keep(self, draft: str, paths: Any) -> tuple[File, ...]:
        self._stop("keep")
        return super().keep(draft, paths)

    def commit(self, draft: str, manifest: Manifest) -> str:
        self._stop("commit")
        return super().commit(draft, manifest)


class Rank:
    """One of two."""

    def __init__(self, group: Group, store: DirectoryCheckpoints) -> None:
        self.group, self.store = group, store
        self.told: list[str | Exception] = []
        self.ended = threading.Event()
        self.checkpoints = Checkpoints(
            store,
            ranks=Ranks(group),
            on_saved=lambda _, name: self.told.append(name),
            on_failed=self._failed,
        )

    def _failed(self, _: Position, error: Exception) -> None:
        self.told.append(error)
        self.ended.set()

    def save(self, step: int) -> Future[str]:
        own = {f"w{self.group.rank}": torch.full((3,), float(step)), "both": torch.tensor([step])}
        return self.checkpoints.save({"weights": own, "step": step}, Position(step))


@pytest.fixture
def threads() -> Iterator[groups.Ranks]:
    started = groups.Ranks()
    yield started
    started.close()


@pytest.fixture
def two(threads: groups.Ranks, tmp_path: Path) -> Iterator[Callable[..., list[Rank]]]:
    """Two ranks, of which one stops somewhere."""
    begun: list[Rank] = []

    def begin(rank: int = 0, stops_at: str = "") -> list[Rank]:
        begun.extend(Rank(g, Gated(tmp_path, stops_at if g.rank == rank else "")) for g in threads.groups(2))
        return begun

    yield begin
    for one in begun:
        one.group.drop()
    for one in begun:
        one.checkpoints.close()
        assert one.group.gone(ANSWER_S)


def test_each_saves_what_it_has_and_one_loads_all(two: Callable[..., list[Rank]]) -> None:
    both = two()
    for step in (1, 2):
        names = {done.result(ANSWER_S) for done in [rank.save(step) for rank in both]}
    (name,) = names
    record, state = load(both[0].store, name)
    assert (record.world, state["step"], sorted(state["weights"])) == (2, 2, ["both", "w0", "w1"])
    assert state["weights"]["w1"].tolist() == [2.0] * 3
    assert [len(rank.told) for rank in both] == [2, 0]
    some = load(
        both[0].store, name, lambda key, like: None if key.endswith("w1") else torch.empty_like(like, device="cpu")
    )[1]
    assert (some["weights"]["w1"], some["weights"]["w0"].tolist()) == (None, [2.0] * 3)


@pytest.mark.parametrize("slow", [0, 1])
def test_a_rank_that_is_lost_while_one_uploads_costs_the_checkpoint_alone(
    two: Callable[..., list[Rank]], slow: int, tmp_path: Path
) -> None:
    both = two(slow, "keep")
    for rank in both:
        rank.save(1)
    store = both[slow].store
    assert isinstance(store, Gated)
    assert store.reached.wait(ANSWER_S)
    assert all(rank.checkpoints.busy for rank in both)
    for rank in both:
        rank.group.lose("a rank is lost")
    for rank in both:
        rank.checkpoints.settle()
    assert both[slow].checkpoints.busy  # the upload goes on
    store.gate.set()
    for rank in both:
        assert rank.ended.wait(ANSWER_S)
        (error,) = rank.told
        assert isinstance(error, GroupLost)
    assert store.names() == []


def test_a_rank_that_never_saves_is_not_waited_for_once_it_is_lost(two: Callable[..., list[Rank]]) -> None:
    first, second = two()
    saved = second.save(1)
    assert second.checkpoints.busy
    first.group.lose("killed")
    second.group.lose("told to leave")
    second.checkpoints.settle()
    assert isinstance(saved.exception(ANSWER_S), GroupLost)
    assert second.store.names() == []


def test_what_is_committed_counts_though_nobody_hears_of_it(two: Callable[..., list[Rank]]) -> None:
    first, second = two(0, "commit")
    saved = [rank.save(1) for rank in (first, second)]
    store = first.store
    assert isinstance(store, Gated)
    assert store.reached.wait(ANSWER_S)
    for rank in (first, second):
        rank.group.lose("a rank is lost")
    second.checkpoints.settle()
    assert isinstance(saved[1].exception(ANSWER_S), GroupLost)
    settling = threading.Thread(target=first.checkpoints.settle)
    settling.start()
    assert not saved[0].done()
    assert settling.is_alive()
    store.gate.set()
    name = saved[0].result(ANSWER_S)
    settling.join(ANSWER_S)
    assert not settling.is_alive()
    assert (first.told, store.names()) == ([name], [name])
    assert sorted(load(store, name)[1]["weights"]) == ["both", "w0", "w1"]


@pytest.mark.parametrize(("passed_over", "steps"), [(1, (1, 1)), (0, (1, 2))])
def test_no_checkpoint_is_made_of_the_parts_of_two_drafts_or_steps(
    two: Callable[..., list[Rank]], passed_over: int, steps: tuple[int, ...]
) -> None:
    """A rank has passed over a draft that the others are at; or one has applied a step that the others have not."""
    both = two()
    both[1].checkpoints._count = passed_over
    saved = [rank.save(step) for step, rank in zip(steps, both, strict=True)]
    for done in saved:
        assert isinstance(done.exception(ANSWER_S), GroupLost)
    assert all(rank.group.lost for rank in both)  # so they begin anew
    assert both[0].store.names() == []


def test_an_error_that_cannot_be_sent_is_told_all_the_same(threads: groups.Ranks) -> None:
    class OwnError(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(f"{one} and {two}")

    def fail() -> str:
        raise OwnError("this", "that")

    def told(group: Group) -> str:
        ranks = Ranks(group)
        with pytest.raises(Exception, match="this and that") as caught:
            ranks.gathered(fail if ranks.rank else lambda: "fine")
        return str(caught.value)

    assert threads.all(threads.groups(2), told) == ["OwnError: this and that"] * 2
