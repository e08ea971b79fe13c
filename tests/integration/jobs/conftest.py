"""A client of the suite that all tests share, and models that go when a test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.aio import Client
from tests.integration.jobs.batch import TIMEOUT_S
from tests.integration.serving.conftest import Workbench
from tests.suites import RunningSuite


@pytest.fixture
async def client(running_suite: RunningSuite) -> AsyncIterator[Client]:
    """A client of the suite that all tests share."""
    async with Client(running_suite.address, tenant="acme", timeout_s=TIMEOUT_S) as opened:
        yield opened


@pytest.fixture
async def bench(client: Client, tmp_path: Path) -> AsyncIterator[Workbench]:
    """A workbench on the shared suite; what a test puts there is removed."""
    found = Workbench(client, tmp_path)
    yield found
    await found.clear()
