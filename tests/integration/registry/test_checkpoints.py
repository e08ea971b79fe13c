"""Checkpoints of runs in the artifact store, by a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from modelyard.errors import DataLossError, NotFoundError
from modelyard.rpc.registry import BlockingSource, RegistrySource
from modelyard.rpc.storing import Storing
from modelyard.train.checkpoint.artifacts import ArtifactCheckpoints, Site
from modelyard.train.checkpoint.loading import load, newest
from modelyard.train.checkpoint.saver import Checkpoints
from modelyard.train.position import Position
from tests.integration.registry.remote import RegistryServer


@pytest.fixture
async def site(server: RegistryServer, tmp_path: Path) -> AsyncIterator[Site]:
    source, storing = RegistrySource(lambda: [server.endpoint]), Storing(lambda: [server.endpoint])
    loop = asyncio.get_running_loop()
    yield Site(BlockingSource(source, loop, 5.0), storing, loop, tmp_path / "scratch", "acme")
    await source.close()
    await storing.close()


def state_at(step: int) -> dict[str, Any]:
    return {"w": torch.arange(3_000_000, dtype=torch.float32) + step, "step": step}


def saved(site: Site, held: list[Sequence[str]], steps: range) -> None:
    store = ArtifactCheckpoints(site, held.append, held[-1] if held else ())
    checkpoints = Checkpoints(store, keep_last=2)
    for step in steps:
        checkpoints.save(state_at(step), Position(step)).result()
    checkpoints.close()


async def test_checkpoints_are_manifests_of_chunks(site: Site, server: RegistryServer) -> None:
    held: list[Sequence[str]] = []
    await asyncio.to_thread(saved, site, held, range(3))
    await asyncio.to_thread(saved, site, held, range(3, 4))
    assert [len(names) for names in held] == [1, 2, 3, 2, 3, 2]
    assert list(site.scratch.iterdir()) == []
    store = ArtifactCheckpoints(site, held.append, held[-1])
    name = await asyncio.to_thread(newest, store)
    assert name == held[-1][0]
    for expected, found in zip((3, 2), held[-1], strict=True):
        record, state = await asyncio.to_thread(load, store, found)
        assert record.position == Position(expected)
        assert torch.equal(state["w"], state_at(expected)["w"])


async def test_damaged_and_unknown_ones(site: Site, server: RegistryServer) -> None:
    held: list[Sequence[str]] = []
    await asyncio.to_thread(saved, site, held, range(2))
    manifest = await asyncio.to_thread(site.source.manifest, held[-1][0])
    weights = next(file for file in manifest.files if file.path == "__0_0.distcp")
    server.chunk(weights.chunks[0]).unlink()
    store = ArtifactCheckpoints(site, held.append, ["0" * 64, *held[-1]])
    with pytest.raises(DataLossError, match="not in the artifact store any more"):
        await asyncio.to_thread(load, store, held[-1][0])
    with pytest.raises(NotFoundError):
        await asyncio.to_thread(store.open, "0" * 64)
    assert await asyncio.to_thread(newest, store) == held[-1][1]
