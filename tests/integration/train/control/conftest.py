"""What tests of the control process share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from modelyard.etcd import Etcd
from tests.integration.train.control.controls import Control


@pytest.fixture
async def control(etcd: Etcd) -> AsyncIterator[Control]:
    """One that serves, of a job that nobody has trained in."""
    one = Control(etcd)
    await one.start()
    yield one
    await one.close()
