"""inference.GRPCInferenceService at the front door: of a request it reads the envelope, never the tensors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import modelyard
from modelyard.errors import NotFoundError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.config import ServedModel, model_config, model_metadata
from modelyard.oip.servicer import ExtensionServicer
from modelyard.oip.settings import Settings, change_trace
from modelyard.oip.sharedmemory import SharedMemory
from modelyard.oip.streaming import StreamedCalls
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard_scheduler.frontdoor.repository import Repository
from modelyard_scheduler.frontdoor.router import Router
from modelyard_scheduler.frontdoor.statistics import Statistics
from modelyard_scheduler.frontdoor.table import RoutingTable

RAW_METHODS = ("ModelInfer", "ModelStreamInfer")
"""Methods whose messages pass through as bytes."""
EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "parameters",
    "statistics",
    "logging",
)
"""Triton's names of what this server has beside the protocol."""


@dataclass(frozen=True)
class Extensions:
    """What Triton adds to the protocol."""

    repository: Repository
    statistics: Statistics
    shared_memory: SharedMemory
    settings: Settings


class InferenceServicer(ExtensionServicer):
    """The Open Inference Protocol with Triton's extensions."""

    def __init__(self, router: Router, table: RoutingTable, extensions: Extensions, stopping: asyncio.Event) -> None:
        """Streams take no more calls once `stopping` is set, and the server is not ready."""
        super().__init__(extensions.shared_memory, extensions.settings)
        self._router = router
        self._table = table
        self._repository = extensions.repository
        self._statistics = extensions.statistics
        self._stopping = stopping

    async def ServerReady(self, request: messages.ServerReadyRequest, context: Context) -> messages.ServerReadyResponse:
        """Whether the routing table has been filled, and this process does not stop."""
        return messages.ServerReadyResponse(ready=self._table.built.is_set() and not self._stopping.is_set())

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, context: Context
    ) -> messages.ServerMetadataResponse:
        """Name, version and extensions of this server."""
        return messages.ServerMetadataResponse(name="modelyard", version=modelyard.__version__, extensions=EXTENSIONS)

    async def ModelReady(self, request: messages.ModelReadyRequest, context: Context) -> messages.ModelReadyResponse:
        """Whether a call of the model would be executed now; of an unknown model it would not."""
        try:
            target = await self._router.resolve(request.name, request.version)
        except (NotFoundError, PreconditionError, UnavailableError):
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=any(s.connected for s in self._table.streams(target)))

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> messages.ModelMetadataResponse:
        """Inputs, outputs, platform and deployed versions of a model."""
        return model_metadata(await self._served(request.name, request.version, context))

    async def ModelConfig(self, request: messages.ModelConfigRequest, context: Context) -> messages.ModelConfigResponse:
        """The configuration of a model as Triton writes it."""
        return model_config(await self._served(request.name, request.version, context))

    async def _served(self, model: str, version: str, context: Context) -> ServedModel:
        way = await self._router.way(model, version, context.time_remaining())
        versions = self._table.versions(way.version.model)
        found = way.instances[0]
        return ServedModel(way.version.model, versions, found.platform, found.signature, found.options)

    async def ModelStatistics(
        self, request: messages.ModelStatisticsRequest, context: Context
    ) -> messages.ModelStatisticsResponse:
        """Counts and durations of a version, of all versions of a model, or of all models."""
        return await self._statistics.of(await self._versions(request.name, request.version))

    async def _versions(self, model: str, version: str) -> list[ModelVersion]:
        if version or (model and not self._table.versions(model)):
            return [await self._router.resolve(model, version)]
        models = [model] if model else sorted({d.model for d in self._table.deployments.items.values()})
        return [ModelVersion(name, number) for name in models for number in self._table.versions(name)]

    async def ModelInfer(self, request: bytes, context: Context) -> bytes:
        """Execute a request on one instance."""
        return await self._infer(request, context.time_remaining())

    def ModelStreamInfer(self, requests: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        """Execute requests as they come; answer each when it is done."""
        return StreamedCalls(self._infer, context.time_remaining(), self._stopping).answers(requests)

    async def _infer(self, request: bytes, timeout_s: float | None) -> bytes:
        return await self._shared_memory.infer(self._router.infer, request, timeout_s)

    async def RepositoryIndex(
        self, request: messages.RepositoryIndexRequest, context: Context
    ) -> messages.RepositoryIndexResponse:
        """Every version, deployed or not, and its state."""
        return await self._repository.index(request)

    async def RepositoryModelLoad(
        self, request: messages.RepositoryModelLoadRequest, context: Context
    ) -> messages.RepositoryModelLoadResponse:
        """Deploy a version, the newest unless the parameter `version` names one; return when it is READY."""
        await self._repository.load(request, tenant_of(context), context.time_remaining())
        return messages.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: messages.RepositoryModelUnloadRequest, context: Context
    ) -> messages.RepositoryModelUnloadResponse:
        """Undeploy all versions of a model, or the one that the parameter `version` names."""
        await self._repository.unload(request, tenant_of(context), context.time_remaining())
        return messages.RepositoryModelUnloadResponse()

    async def TraceSetting(
        self, request: messages.TraceSettingRequest, context: Context
    ) -> messages.TraceSettingResponse:
        """Change the settings of a model's traces, or of all models'; return them."""
        if request.model_name:
            await self._router.resolve(request.model_name, "")
        return await change_trace(self._settings, request)
