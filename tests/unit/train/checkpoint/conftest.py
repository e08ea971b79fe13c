"""Processes that have torch from their beginning: forks of one that has imported it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.unit.train.checkpoint import programs

Start = Callable[..., tuple[Any, Connection]]


@pytest.fixture(scope="session")
def forks() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.unit.train.checkpoint.programs"])
    return context


@pytest.fixture
def start(forks: Any) -> Iterator[Start]:
    """Start a process; return it, and what it tells."""
    started = []

    def begin(target: Callable[..., None], root: Path, *arguments: Any) -> tuple[Any, Connection]:
        told, telling = forks.Pipe(duplex=False)
        process = forks.Process(target=target, args=(root, telling, *arguments))
        process.start()
        telling.close()
        started.append((process, told))
        return process, told

    yield begin
    for process, told in started:
        process.kill()
        process.join()
        told.close()


@pytest.fixture
def together(forks: Any) -> Iterator[Callable[..., list[Any]]]:
    """Run a program on so many ranks; return what each tells."""
    started = []

    def run(work: Callable[..., None], root: Path, world: int) -> list[Any]:
        ends = []
        for number in range(world):
            told, telling = forks.Pipe(duplex=False)
            process = forks.Process(target=programs.rank, args=(work, root, telling, (number, world)))
            process.start()
            telling.close()
            started.append(process)
            ends.append(told)
        found = [told.recv() for told in ends]
        for told in ends:
            told.close()
        return found

    yield run
    for process in started:
        process.join(30)
        process.kill()
        assert process.exitcode == 0
