"""What tests of training share: a registry, as that of its own tests, and processes of one job on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.etcd import Etcd
from tests.integration.registry.conftest import _registry_process, server
from tests.integration.registry.remote import RegistryServer
from tests.integration.train.workshop import Workshop
from tests.servers import ProgramServer

__all__ = ["_registry_process", "server"]


@pytest.fixture
async def workshop(
    etcd: Etcd, etcd_server: ProgramServer, server: RegistryServer, tmp_path: Path
) -> AsyncIterator[Workshop]:
    made = Workshop(etcd, etcd_server.endpoint, server.endpoint, tmp_path)
    yield made
    await made.close()
