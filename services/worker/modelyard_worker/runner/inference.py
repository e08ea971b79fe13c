"""inference.GRPCInferenceService at a runner, for clients that go to it directly: the models that it holds."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import modelyard
from modelyard.errors import InvalidInputError, NotFoundError
from modelyard.oip import messages
from modelyard.oip.config import ServedModel, model_config, model_metadata
from modelyard.oip.regions import LocalRegions
from modelyard.oip.servicer import ExtensionServicer
from modelyard.oip.settings import LocalSettings, change_trace
from modelyard.oip.sharedmemory import SharedMemory
from modelyard.oip.streaming import StreamedCalls
from modelyard.oip.tensors import parse_request
from modelyard.oip.wire import without_tensors
from modelyard.rpc.interceptor import Context
from modelyard_worker.runner.loaded import LoadedModel
from modelyard_worker.runner.models import Models
from modelyard_worker.runner.repository import index, is_held, load, unload
from modelyard_worker.runner.statistics import Duration

RAW_METHODS = ("ModelInfer", "ModelStreamInfer")
"""Methods whose messages pass through as bytes."""
EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "parameters",
    "statistics",
    "logging",
)
"""Triton's names of what this server has beside the protocol."""


class InferenceServicer(ExtensionServicer):
    """The Open Inference Protocol with those of Triton's extensions that concern one process.

    Regions of shared memory and settings are this process's own.
    """

    def __init__(self, models: Models, stopping: asyncio.Event) -> None:
        """Streams take no more calls once `stopping` is set."""
        super().__init__(SharedMemory(LocalRegions()), LocalSettings())
        self._models = models
        self._stopping = stopping

    async def ServerReady(self, request: messages.ServerReadyRequest, context: Context) -> messages.ServerReadyResponse:
        """Whether it takes calls."""
        return messages.ServerReadyResponse(ready=not self._stopping.is_set())

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, context: Context
    ) -> messages.ServerMetadataResponse:
        """Name, version and extensions of this server."""
        return messages.ServerMetadataResponse(
            name="modelyard-runner", version=modelyard.__version__, extensions=EXTENSIONS
        )

    async def ModelReady(self, request: messages.ModelReadyRequest, context: Context) -> messages.ModelReadyResponse:
        """Whether a call of the model would be executed now."""
        try:
            self._find(request.name, request.version)
        except NotFoundError:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, context: Context
    ) -> messages.ModelMetadataResponse:
        """Inputs, outputs, platform and versions of a model, as far as they are held here."""
        return model_metadata(self._served(request.name, request.version))

    async def ModelConfig(self, request: messages.ModelConfigRequest, context: Context) -> messages.ModelConfigResponse:
        """The configuration of a model as Triton writes it."""
        return model_config(self._served(request.name, request.version))

    def _served(self, model: str, version: str) -> ServedModel:
        found = self._find(model, version)
        held = sorted(m.instance.version for m in self._models.loaded() if m.instance.model == found.instance.model)
        return ServedModel(found.instance.model, held, found.platform, found.signature, found.options)

    async def ModelStatistics(
        self, request: messages.ModelStatisticsRequest, context: Context
    ) -> messages.ModelStatisticsResponse:
        """Counts and durations of a version, of all versions of a model, or of all models that are held here."""
        held = sorted(self._models.loaded(), key=lambda m: m.instance)
        wanted = (request.name, request.version)
        found = [m for m in held if wanted[0] in ("", m.instance.model) and wanted[1] in ("", m.instance.version)]
        if request.name and not found:
            self._find(request.name, request.version)
        return messages.ModelStatisticsResponse(model_stats=[_statistics(m) for m in found])

    async def ModelInfer(self, request: bytes, context: Context) -> bytes:
        """Execute a request."""
        return await self._infer(request, context.time_remaining())

    def ModelStreamInfer(self, requests: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        """Execute requests as they come; answer each when it is done."""
        return StreamedCalls(self._infer, context.time_remaining(), self._stopping).answers(requests)

    async def _infer(self, request: bytes, timeout_s: float | None) -> bytes:
        return await self._shared_memory.infer(self._execute, request, timeout_s)

    async def _execute(self, request: bytes, timeout_s: float | None) -> bytes:
        parsed = parse_request(without_tensors(request))
        return await self._find(parsed.model_name, parsed.model_version).infer(request, timeout_s)

    def _find(self, model: str, version: str) -> LoadedModel:
        """The version that is named, else the one that is held.

        Raises:
            NotFoundError: it is not held here.
            InvalidInputError: no model is named, or none of several versions.
        """
        if not model:
            raise InvalidInputError("model_name: expected the name of a model, got an empty string")
        if version or "@" in model:
            return self._models.find(f"{model}@{version}" if version else model)
        held = [m for m in self._models.loaded() if m.instance.model == model]
        if not held:
            raise NotFoundError(f"model {model!a:.200}: not in this runner")
        if len(held) > 1:
            versions = ", ".join(sorted(m.instance.version for m in held))
            raise InvalidInputError(f"model {model!r}: expected one of the versions {versions}, got none")
        return held[0]

    async def RepositoryIndex(
        self, request: messages.RepositoryIndexRequest, context: Context
    ) -> messages.RepositoryIndexResponse:
        """What this runner holds, or is loading."""
        return index(self._models, request)

    async def RepositoryModelLoad(
        self, request: messages.RepositoryModelLoadRequest, context: Context
    ) -> messages.RepositoryModelLoadResponse:
        """Return if the model is held here; the front door decides what is."""
        return load(self._models, request)

    async def RepositoryModelUnload(
        self, request: messages.RepositoryModelUnloadRequest, context: Context
    ) -> messages.RepositoryModelUnloadResponse:
        """Return if the model is not held here; the front door decides what is."""
        return unload(self._models, request)

    async def TraceSetting(
        self, request: messages.TraceSettingRequest, context: Context
    ) -> messages.TraceSettingResponse:
        """Change the settings of a model's traces, or of all models'; return them."""
        if request.model_name and not is_held(self._models, request.model_name):
            raise NotFoundError(f"model {request.model_name!a:.200}: not in this runner")
        return await change_trace(self._settings, request)


def _statistics(model: LoadedModel) -> messages.ModelStatistics:
    counted = model.statistics.snapshot()
    told = messages.ModelStatistics(
        name=model.instance.model,
        version=model.instance.version,
        last_inference=counted.last_inference_ms,
        inference_count=counted.inference_count,
        execution_count=counted.execution_count,
    )
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        _put(getattr(told.inference_stats, name), getattr(counted, name))
    for size, batch in sorted(counted.batches.items()):
        kept = told.batch_stats.add(batch_size=size)
        for name in ("compute_input", "compute_infer", "compute_output"):
            _put(getattr(kept, name), getattr(batch, name))
    return told


def _put(told: messages.StatisticDuration, counted: Duration) -> None:
    told.count, told.ns = counted.count, counted.ns
