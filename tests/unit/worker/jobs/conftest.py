"""A worker that pulls from a queue in memory, and waits for nothing but what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.queue.memory import MemoryQueue
from modelyard_worker.jobs import puller, site
from tests.pulling import Worker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short, and no look is made that nobody asks for."""
    monkeypatch.setattr(site, "GRACE_S", 0.05)
    monkeypatch.setattr(puller, "WAIT_S", 1000.0)
    monkeypatch.setattr(puller, "LOOK_S", 1000.0)
    monkeypatch.setattr(site, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue(part_of_delay=lambda: 1.0)


@pytest.fixture
async def worker(tmp_path: Path, queue: MemoryQueue) -> AsyncIterator[Worker]:
    async with Worker(tmp_path, queue) as running:
        yield running
