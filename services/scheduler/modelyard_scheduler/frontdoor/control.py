"""The registry and the scheduler's controller, as far as the front door asks them on behalf of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from modelyard.catalogue import Version
from modelyard.names import ModelVersion
from modelyard.rpc.channel import Stub
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.status import TENANT_KEY, error_of
from modelyard.v1 import registry_pb2, scheduler_pb2
from modelyard_scheduler.peers import TIMEOUT_S, find_version

PAGE = 1000


class Control:
    """Every call raises the ModelyardError that it is answered with, UnavailableError if nobody answers."""

    def __init__(self, registries: Replicas, schedulers: Replicas) -> None:
        self._registries = registries
        self._schedulers = schedulers

    async def find_version(self, model: str, reference: str) -> Version:
        """Ask for a version by its name, an alias's, or (empty) the newest."""
        return await find_version(self._registries, model, reference)

    async def registered(self) -> AsyncIterator[ModelVersion]:
        """Every version that is not deleted, by model, the newest first."""
        stub = Stub(await self._registries.channel(), registry_pb2.DESCRIPTOR.services_by_name["Registry"])
        token = ""
        while True:
            request = registry_pb2.SearchRequest(page_size=PAGE, page_token=token)
            answer = await _answer(stub.Search(request, timeout=TIMEOUT_S))
            for result in answer.results:
                yield ModelVersion(result.version.model, result.version.version)
            token = answer.next_page_token
            if not token:
                return

    async def deploy(self, version: ModelVersion, tenant: str) -> None:
        """Declare that a version shall be served, by one replica."""
        request = scheduler_pb2.DeployRequest(model=version.model, version=version.version)
        await _answer((await self._scheduler()).Deploy(request, timeout=TIMEOUT_S, metadata=((TENANT_KEY, tenant),)))

    async def undeploy(self, model: str, version: str, tenant: str) -> list[ModelVersion]:
        """Withdraw a version, or all of a model where none is named; return which."""
        request = scheduler_pb2.UndeployRequest(model=model, version=version)
        stub = await self._scheduler()
        answer = await _answer(stub.Undeploy(request, timeout=TIMEOUT_S, metadata=((TENANT_KEY, tenant),)))
        return [ModelVersion(model, ended) for ended in answer.versions]

    async def _scheduler(self) -> Stub:
        return Stub(await self._schedulers.channel(), scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"])


async def _answer(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure) from failure
