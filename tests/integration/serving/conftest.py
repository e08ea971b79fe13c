"""Clients of the suite that the tests share, and models served for one test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import onnx
import pytest

from modelyard.aio import Client
from modelyard.errors import NotFoundError, PreconditionError
from modelyard.etcd import Etcd
from tests import models
from tests.integration.serving.machine import Machine
from tests.suites import RunningSuite
from tests.waiting import eventually

TIMEOUT_S = 120.0


class Workbench:
    """Pushes and deploys small models, and remembers what is to be removed."""

    def __init__(self, client: Client, directory: Path) -> None:
        self.client = client
        self.names: set[str] = set()
        self.directory = directory

    async def push(self, name: str, model: onnx.ModelProto, version: str = "") -> str:
        """Publish a version; return its number."""
        self.names.add(name)
        path = models.save(model, self.directory / f"{name}.onnx")
        return (await self.client.push(name, path, version=version)).version

    async def serve(self, name: str, model: onnx.ModelProto, replicas: int = 1) -> str:
        """Publish and deploy a version, wait until it answers; return its number."""
        version = await self.push(name, model)
        await self.client.deploy(name, version, replicas=replicas, timeout_s=TIMEOUT_S)
        return version

    async def clear(self) -> None:
        """Undeploy and delete all models."""
        await asyncio.gather(*(self._remove(name) for name in self.names))

    async def _remove(self, name: str) -> None:
        with contextlib.suppress(NotFoundError):
            await self.client.undeploy(name)
        await eventually(lambda: self._is_deleted(name), TIMEOUT_S)

    async def _is_deleted(self, name: str) -> bool:
        """Whether it could be deleted: not while a job of it is on its way out."""
        try:
            await self.client.delete_model(name, purge=True)
        except PreconditionError as error:
            if "jobs use it" not in error.message:
                raise
            return False
        return True


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


@pytest.fixture
async def machine(etcd: Etcd, tmp_path: Path) -> AsyncIterator[Machine]:
    """A worker's agent that runs, and its placements."""
    async with Machine(etcd, tmp_path).running() as one:
        yield one


@pytest.fixture
def own_bench(tmp_path: Path) -> Callable[[Client], Workbench]:
    """Make a workbench on a suite of the test's own; it goes with the suite."""
    return lambda client: Workbench(client, tmp_path)
