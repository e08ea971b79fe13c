"""A registry process for all of these tests, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from modelyard.etcd import Etcd
from tests import models
from tests.integration.registry.remote import RegistryServer, Remote
from tests.servers import ProgramServer


@pytest.fixture(scope="session")
def _registry_process(
    _etcd_process: ProgramServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryServer]:
    server = RegistryServer(tmp_path_factory.mktemp("registry"), _etcd_process.endpoint)
    server.start()
    yield server
    server.close()


@pytest.fixture
async def server(_registry_process: RegistryServer, etcd: Etcd) -> RegistryServer:
    """The registry of this run, on an empty etcd; its store holds what other tests have put there."""
    await _registry_process.wait_ready()
    return _registry_process


@pytest.fixture
async def registry(server: RegistryServer) -> AsyncIterator[Remote]:
    """A client of it."""
    remote = Remote(server.endpoint)
    yield remote
    await remote.close()


@pytest.fixture
async def as_tenant(server: RegistryServer) -> AsyncIterator[Callable[[str], Remote]]:
    """Clients that name a tenant."""
    opened: list[Remote] = []

    def connect(tenant: str) -> Remote:
        opened.append(Remote(server.endpoint, tenant))
        return opened[-1]

    yield connect
    for remote in opened:
        await remote.close()


@pytest.fixture
def new_registry(etcd_server: ProgramServer, tmp_path: Path) -> Iterator[Callable[..., RegistryServer]]:
    """Registries of the test's own, started; they are ended afterwards."""
    started: list[RegistryServer] = []

    def start(**options: object) -> RegistryServer:
        started.append(RegistryServer(tmp_path, etcd_server.endpoint, **options))  # type: ignore[arg-type]
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    """A small model."""
    return models.mlp((4, 8, 2)).SerializeToString()
