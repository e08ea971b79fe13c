"""Checkpoints of one process: copied at once, written by a thread, the newest kept; and those that fail."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from modelyard.catalogue import File
from modelyard.errors import DataLossError, InvalidInputError, NotFoundError
from modelyard.train.checkpoint.directory import MANIFEST, DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load, newest
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.position import Position
from tests.unit.train.checkpoint.programs import equal, state_at


class Gated(DirectoryCheckpoints):
    """Keeps files only once it may; fails with what is in `failures`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.open_gate = threading.Event()
        self.failures: list[Exception] = []

    def keep(self, draft: str, paths: Iterable[str]) -> tuple[File, ...]:
        assert self.open_gate.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        return super().keep(draft, paths)


def test_a_state_is_copied_before_it_changes_again(tmp_path: Path) -> None:
    store = Gated(tmp_path)
    checkpoints = Checkpoints(store)
    state = state_at(1, 1000)
    saved = checkpoints.save(state, Position(1))
    for tensor in state["weights"].values():
        tensor.zero_()
    assert checkpoints.busy
    assert newest(store) == ""
    store.open_gate.set()
    record, found = load(store, saved.result(60))
    assert equal(found, state_at(1, 1000))
    assert record.position == Position(1)
    assert not checkpoints.busy
    checkpoints.close()


def test_the_newest_are_kept_and_a_later_run_goes_on_counting(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path)
    told: list[tuple[Position, str]] = []
    for steps in (range(3), range(3, 5)):
        checkpoints = Checkpoints(store, keep_last=2, on_saved=lambda *saved: told.append(saved))
        for step in steps:
            checkpoints.save(state_at(step, 10), Position(step, 1, step))
        checkpoints.close()
    assert [position for position, _ in told] == [Position(step, 1, step) for step in range(5)]
    assert store.names() == [told[4][1], told[3][1]]
    assert {path.name for path in tmp_path.iterdir()} == set(store.names())


def test_one_that_fails_leaves_the_one_before_and_the_next_is_saved(tmp_path: Path) -> None:
    store = Gated(tmp_path)
    store.open_gate.set()
    checkpoints = Checkpoints(store, keep_last=1)
    first = checkpoints.save(state_at(1, 10), Position(1)).result(60)
    store.failures.append(OSError(28, "no space left on device"))
    assert "no space" in str(checkpoints.save(state_at(2, 10), Position(2)).exception(60))
    assert store.names() == [first]
    assert [path.name for path in tmp_path.iterdir()] == [first]
    third = checkpoints.save(state_at(3, 10), Position(3)).result(60)
    assert store.names() == [third]
    checkpoints.close()


def test_what_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(DirectoryCheckpoints(tmp_path))
    with pytest.raises(InvalidInputError, match="state: a: expected tensors"):
        checkpoints.save({"a": object()}, Position())
    checkpoints.close()
    assert list(tmp_path.iterdir()) == []


def saved(root: Path, *steps: int) -> list[str]:
    checkpoints = Checkpoints(DirectoryCheckpoints(root))
    names = [checkpoints.save(state_at(step, 100), Position(step)).result(60) for step in steps]
    checkpoints.close()
    return names


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest"])
def test_damaged_ones_are_passed_over(tmp_path: Path, damage: str) -> None:
    one, two = saved(tmp_path, 1, 2)
    path = tmp_path / two / (MANIFEST if damage == "manifest" else "__0_0.distcp")
    content = path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "changed":
            path.write_bytes(bytes([*content[:-1], content[-1] ^ 1]))
        case _:
            path.write_bytes(content[:-1])
    store = DirectoryCheckpoints(tmp_path)
    with pytest.raises(DataLossError, match=two):
        load(store, two)
    assert newest(store) == one


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    checkpoints = Checkpoints(DirectoryCheckpoints(tmp_path))
    name = checkpoints.save({"lr": 0.1, "none": torch.empty(0)}, Position(7)).result(60)
    checkpoints.close()
    _, state = load(DirectoryCheckpoints(tmp_path), name)
    assert equal(state, {"lr": 0.1, "none": torch.empty(0)})


def test_only_names_of_checkpoints_are_opened(tmp_path: Path) -> None:
    store = DirectoryCheckpoints(tmp_path)
    with pytest.raises(NotFoundError, match="checkpoint 'x'"):
        load(store, "x")
    with pytest.raises(InvalidInputError, match="checkpoint name"):
        load(store, "../x")
