from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelyard.aio import Client
from tests.unit.fakes import FakeSuite


@pytest.fixture
async def fakes() -> AsyncIterator[FakeSuite]:
    async with FakeSuite().serve() as serving:
        yield serving


@pytest.fixture
async def client(fakes: FakeSuite) -> AsyncIterator[Client]:
    async with Client(fakes.address, tenant="acme", timeout_s=20) as opened:
        yield opened
