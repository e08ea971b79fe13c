from __future__ import annotations

import pytest

from modelyard.etcd import Etcd
from tests.unit.scheduler.jobs.term import Stage


@pytest.fixture
async def stage(etcd: Etcd) -> Stage:
    """A cluster that jobs can be executed on, without a leader yet."""
    made = Stage(etcd)
    await made.publish()
    return made
