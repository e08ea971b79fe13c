"""A run is killed while it saves into the artifact store of a real registry: what was said to be saved is whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.stored_run import run_until_killed
from tests.unit.train.checkpoint.conftest import forks, start
from tests.unit.train.checkpoint.programs import equal, state_at

__all__ = ["forks", "start"]
Start = Callable[..., tuple[Any, Connection]]
Saved = tuple[int, str]


def last(told: Connection, before: Saved) -> Saved:
    """The last that was said to be saved, once the process has ended."""
    while True:
        try:
            before = told.recv()
        except EOFError:
            return before


def killed(root: Path, start: Start, endpoint: str, known: Saved, delay_s: float) -> Saved:
    """Kill a run so long after its first checkpoint; return the last that it told of."""
    process, told = start(run_until_killed, root, endpoint, known[1])
    first: Saved = told.recv()
    assert first[0] == known[0] + 1
    process.join(delay_s)
    process.kill()
    found = last(told, first)
    process.join()
    assert process.exitcode == -9
    return found


async def kill_often(server: RegistryServer, start: Start, directory: Path, delays: list[float]) -> None:
    known: Saved = (-1, "")
    source, storing = RegistrySource(lambda: [server.endpoint]), Storing(lambda: [server.endpoint])
    loop = asyncio.get_running_loop()
    store = ArtifactCheckpoints(
        Site(BlockingSource(source, loop), storing, loop, directory / "read", "acme"), lambda _: None
    )
    for number, delay_s in enumerate(delays):
        # Half of them in the directory that the one before has left as it was.
        root = directory / f"run-{number // 2}"
        known = await asyncio.to_thread(killed, root, start, server.endpoint, known, delay_s)
        record, state = await asyncio.to_thread(load, store, known[1])
        assert record.position.step == known[0]
        assert equal(state, state_at(known[0]))
    await source.close()
    await storing.close()


async def test_run_is_killed_at_any_moment(server: RegistryServer, start: Start, tmp_path: Path) -> None:
    chance = random.Random()
    await kill_often(server, start, tmp_path, [chance.uniform(0, 0.2) for _ in range(3)])


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_run_is_killed_very_often(server: RegistryServer, start: Start, tmp_path: Path) -> None:
    chance = random.Random()
    await kill_often(server, start, tmp_path, [chance.uniform(0, 0.5) for _ in range(60)])
