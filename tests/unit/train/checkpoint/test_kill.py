"""A run is killed in mid-save, again and again, and goes on from what is there."""

from __future__ import annotations

import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from modelyard.train.checkpoint.directory import DirectoryCheckpoints
from modelyard.train.checkpoint.loading import load, newest
from tests.unit.train.checkpoint.programs import equal, run_to_be_killed, run_watched, state_at

Start = Callable[..., tuple[Any, Connection]]
STEPS = 6


def received(told: Connection) -> int:
    """The last step that was said to be saved, before the process ended; -1: none."""
    last = -1
    while True:
        try:
            last = told.recv()
        except EOFError:
            return last


def check(root: Path, announced: int) -> int:
    """The newest is whole and what was saved, and so are all others; return its step."""
    store = DirectoryCheckpoints(root)
    name = newest(store)
    for other in store.names():
        record, state = load(store, other)
        assert equal(state, state_at(record.position.step))
    step = load(store, name)[0].position.step if name else -1
    assert step >= announced
    assert not name or name == store.names()[0]
    return step


def killed_at_operations(root: Path, start: Start, operations: list[int]) -> int:
    """Each run is killed before an operation on a file; return how far they came."""
    reached = -1
    for operation in operations:
        process, told = start(run_to_be_killed, root, operation, STEPS)
        reached = check(root, max(reached, received(told)))
        process.join()
        assert process.exitcode == -9
    return reached


def killed_at_moments(root: Path, start: Start, moments: list[float]) -> int:
    """Each run is killed so many seconds after its first checkpoint; return how far they came."""
    reached = -1
    for delay_s in moments:
        process, told = start(run_to_be_killed, root, 0, 10_000)
        reached = max(reached, told.recv())
        process.join(delay_s)
        process.kill()
        reached = check(root, max(reached, received(told)))
        process.join()
        assert process.exitcode == -9
    return reached


def test_run_is_killed_at_any_operation_on_files(tmp_path: Path, start: Start) -> None:
    # A save is about eight operations, two more where an old one is removed.
    operations = random.Random().sample(range(1, 32), 5)
    killed_at_operations(tmp_path, start, operations)
    process, told = start(run_to_be_killed, tmp_path, 0, STEPS)
    last = received(told)
    process.join()
    assert process.exitcode == 0
    assert check(tmp_path, last) == last
    store = DirectoryCheckpoints(tmp_path)
    assert len(store.names()) == 2
    assert len(list(tmp_path.iterdir())) == len(store.names())


def test_what_is_there_before_each_operation_on_files_is_whole(tmp_path: Path, start: Start) -> None:
    _, told = start(run_watched, tmp_path)
    said = told.recv()
    assert len(said) > 20
    for number, step in enumerate(said):
        check(tmp_path / f"copy-{number}", step)


def test_run_is_killed_at_any_moment(tmp_path: Path, start: Start) -> None:
    chance = random.Random()
    assert killed_at_moments(tmp_path, start, [chance.uniform(0, 0.2) for _ in range(4)]) >= 3


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_run_is_killed_very_often(tmp_path: Path, start: Start) -> None:
    chance = random.Random()
    killed_at_operations(tmp_path / "a", start, [chance.randrange(1, 32) for _ in range(150)])
    assert killed_at_moments(tmp_path / "b", start, [chance.uniform(0, 0.3) for _ in range(150)]) >= 149


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_run_is_killed_at_each_operation_on_files(tmp_path: Path, start: Start) -> None:
    for operation in range(1, 50):
        killed_at_operations(tmp_path / str(operation), start, [operation])
