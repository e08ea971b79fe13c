"""Stores of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from modelyard_registry.artifacts.store import ChunkStore
from tests.unit.registry.artifacts.stores import opened


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://store"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["directory", "file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> ChunkStore:
    url = {"directory": str(tmp_path), "file": f"file://{tmp_path}", "memory": memory}[request.param]
    return await opened(url)
