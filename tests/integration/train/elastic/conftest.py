"""Fixtures: jobs with real ranks and a real control process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.etcd import Etcd
from tests.integration.train.elastic.gang import Gang, Nursery
from tests.servers import ProgramServer

NewGang = Callable[..., Awaitable[Gang]]


@pytest.fixture(scope="package")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where ranks are forked."""
    started = Nursery(tmp_path_factory.mktemp("nursery") / "errors.log")
    started.wait_ready()
    yield started
    started.close()


@pytest.fixture
async def gang(nursery: Nursery, etcd: Etcd, etcd_server: ProgramServer, tmp_path: Path) -> AsyncIterator[NewGang]:
    """Start jobs: `await gang(min_workers=2, max_workers=3)`; their processes are ended afterwards."""
    del etcd  # it is empty
    started: list[Gang] = []

    async def start(**limits: Any) -> Gang:
        started.append(Gang(nursery, tmp_path, etcd_server.endpoint, **limits))
        await started[-1].start_control()
        return started[-1]

    yield start
    for one in started:
        await one.close()
