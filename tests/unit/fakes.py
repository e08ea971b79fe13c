"""A front door in this process, over real gRPC: what it answers is for the test to say."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from modelyard.errors import DataLossError, ModelyardError, NotFoundError
from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_inputs, to_raw
from modelyard.rpc.server import Server
from modelyard.rpc.status import TENANT_KEY
from modelyard.v1 import registry_pb2, scheduler_pb2


class Fake:
    """Counts calls, notes tenants, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.tenants: set[str] = set()
        self.failures: dict[str, list[ModelyardError]] = {}

    def called(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        self.tenants |= {str(value) for key, value in context.invocation_metadata() if key == TENANT_KEY}
        if self.failures.get(method):
            raise self.failures[method].pop(0)


class FakeRegistry(Fake):
    """Models, versions and chunks in dictionaries; `failures["chunk"]` fail an upload after its first chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, registry_pb2.Model] = {}
        self.versions: dict[tuple[str, str], registry_pb2.Version] = {}
        self.manifests: dict[str, registry_pb2.Manifest] = {}
        self.chunks: dict[str, bytes] = {}
        self.received_bytes = 0

    async def RegisterModel(self, request: Any, context: Any) -> Any:
        self.called("RegisterModel", context)
        model = registry_pb2.Model(name=request.name, description=request.description, labels=request.labels)
        self.models[request.name] = model
        return model

    def _model(self, name: str) -> Any:
        if name not in self.models:
            raise NotFoundError(f"model {name!r}: not registered")
        return self.models[name]

    async def GetModel(self, request: Any, context: Any) -> Any:
        self.called("GetModel", context)
        return self._model(request.name)

    async def ListModels(self, request: Any, context: Any) -> Any:
        self.called("ListModels", context)
        names = sorted(n for n in self.models if n.startswith(request.name_prefix) and n > request.page_token)
        page = names[: min(request.page_size, 2)]
        token = page[-1] if len(page) < len(names) else ""
        return registry_pb2.ListModelsResponse(models=[self.models[n] for n in page], next_page_token=token)

    async def DeleteModel(self, request: Any, context: Any) -> Any:
        self.called("DeleteModel", context)
        return self.models.pop(self._model(request.name).name)

    async def CreateVersion(self, request: Any, context: Any) -> Any:
        self.called("CreateVersion", context)
        model = self._model(request.model)
        for file in request.manifest.files:
            for chunk in file.chunks:
                if chunk not in self.chunks:
                    raise DataLossError(f"chunk {chunk}: missing")
        digest = hashlib.sha256(request.manifest.SerializeToString(deterministic=True)).hexdigest()
        self.manifests[digest] = request.manifest
        number = request.version or str(1 + sum(1 for name, _ in self.versions if name == request.model))
        version = registry_pb2.Version(
            model=request.model,
            version=number,
            format=request.format,
            manifest_digest=digest,
            labels=request.labels,
            resources=request.resources,
            size_bytes=sum(f.size_bytes for f in request.manifest.files),
        )
        version.create_time.GetCurrentTime()
        self.versions[request.model, number] = version
        model.latest_version = number
        return version

    async def GetVersion(self, request: Any, context: Any) -> Any:
        self.called("GetVersion", context)
        model = self._model(request.model)
        aliases = {alias.name: alias.version for alias in model.aliases}
        name = aliases.get(request.version, request.version) or model.latest_version
        if (request.model, name) not in self.versions:
            raise NotFoundError(f"model {request.model!r}: no version or alias {name!r}")
        return self.versions[request.model, name]

    async def ListVersions(self, request: Any, context: Any) -> Any:
        self.called("ListVersions", context)
        found = [v for (model, _), v in self.versions.items() if model == self._model(request.model).name]
        return registry_pb2.ListVersionsResponse(versions=found)

    async def SetAlias(self, request: Any, context: Any) -> Any:
        self.called("SetAlias", context)
        alias = registry_pb2.Alias(name=request.alias, version=request.version)
        self._model(request.model).aliases.append(alias)
        return alias

    async def FindMissingChunks(self, request: Any, context: Any) -> Any:
        self.called("FindMissingChunks", context)
        missing = [digest for digest in request.digests if digest not in self.chunks]
        return registry_pb2.FindMissingChunksResponse(digests=missing)

    async def UploadChunks(self, requests: AsyncIterator[Any], context: Any) -> Any:
        self.called("UploadChunks", context)
        done = registry_pb2.UploadChunksResponse()
        digest, size_bytes, data = "", 0, b""
        async for request in requests:
            if request.WhichOneof("part") == "header":
                digest, size_bytes, data = request.header.digest, request.header.size_bytes, b""
            data += request.data
            self.received_bytes += len(request.data)
            if len(data) == size_bytes:
                assert hashlib.sha256(data).hexdigest() == digest
                self.chunks[digest] = data
                done.chunks += 1
                if self.failures.get("chunk"):
                    raise self.failures["chunk"].pop(0)
        return done

    async def GetManifest(self, request: Any, context: Any) -> Any:
        self.called("GetManifest", context)
        return self.manifests[request.digest]

    async def DownloadChunks(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("DownloadChunks", context)
        for digest in request.digests:
            data = self.chunks[digest]
            header = registry_pb2.ChunkHeader(digest=digest, size_bytes=len(data))
            yield registry_pb2.DownloadChunksResponse(header=header)
            for start in range(0, len(data), 1 << 20):
                yield registry_pb2.DownloadChunksResponse(data=data[start : start + (1 << 20)])
            if self.failures.get("sent"):
                raise self.failures["sent"].pop(0)


class FakeScheduler(Fake):
    """One deployment that goes through `states`, a call of GetDeployment each, and stays in the last."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[str, str]] = [("READY", "")]
        self.endpoints = scheduler_pb2.GetEndpointsResponse()
        self.findings = ["no worker has 2 GiB free"]

    def _deployment(self, model: str, version: str, replicas: int = 1) -> Any:
        state, reason = self.states[0]
        if len(self.states) > 1:
            self.states.pop(0)
        instance = scheduler_pb2.Instance(worker="worker-0", state=state, reason=reason)
        return scheduler_pb2.Deployment(
            model=model,
            version=version or "1",
            replicas=replicas,
            instances=[instance],
            ready_replicas=int(state == "READY"),
        )

    async def Deploy(self, request: Any, context: Any) -> Any:
        self.called("Deploy", context)
        return self._deployment(request.model, request.version, request.replicas)

    async def GetDeployment(self, request: Any, context: Any) -> Any:
        self.called("GetDeployment", context)
        return self._deployment(request.model, request.version)

    async def Undeploy(self, request: Any, context: Any) -> Any:
        self.called("Undeploy", context)
        return scheduler_pb2.UndeployResponse(versions=["1"])

    async def ListDeployments(self, request: Any, context: Any) -> Any:
        self.called("ListDeployments", context)
        return scheduler_pb2.ListDeploymentsResponse(deployments=[self._deployment("digits", "1")])

    async def ListWorkers(self, request: Any, context: Any) -> Any:
        self.called("ListWorkers", context)
        worker = scheduler_pb2.Worker(id="worker-0", address="127.0.0.1:1", cpu=4, memory_bytes=8 << 30)
        worker.placements.append("digits@1")
        return scheduler_pb2.ListWorkersResponse(workers=[worker])

    async def Explain(self, request: Any, context: Any) -> Any:
        self.called("Explain", context)
        return scheduler_pb2.ExplainResponse(findings=self.findings)

    async def ReadLogs(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("ReadLogs", context)
        for worker in ("worker-0", "worker-1"):
            yield scheduler_pb2.ReadLogsResponse(worker=worker, version="1", data=b"loading\nloaded\n")
            if self.failures.get("part"):
                raise self.failures["part"].pop(0)

    async def GetEndpoints(self, request: Any, context: Any) -> Any:
        self.called("GetEndpoints", context)
        return self.endpoints


class FakeInference(Fake):
    """A model that gives every input back; its first input is FP32 [-1, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.datatype = "FP32"
        self.shape = [-1, 2]
        self.hold: asyncio.Event | None = None

    async def ServerLive(self, request: Any, context: Any) -> Any:
        self.called("ServerLive", context)
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        self.called("ServerReady", context)
        return messages.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self.called("ModelReady", context)
        return messages.ModelReadyResponse(ready=request.name == "digits")

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        self.called("ServerMetadata", context)
        return messages.ServerMetadataResponse(name="modelyard", version="0.1.0", extensions=["model_repository"])

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        self.called("ModelMetadata", context)
        answer = messages.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnxruntime_onnx")
        answer.inputs.add(name="x", datatype=self.datatype, shape=self.shape)
        answer.outputs.add(name="x", datatype=self.datatype, shape=self.shape)
        return answer

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.called("ModelInfer", context)
        if self.hold:
            await self.hold.wait()
        answer = messages.ModelInferResponse(model_name=request.model_name, model_version=request.model_version or "1")
        answer.parameters["worker"].string_param = "worker-0"
        for name, (datatype, array) in decode_inputs(request).items():
            _add(answer, name, datatype, array)
        return answer


def _add(answer: Any, name: str, datatype: str, array: Array) -> None:
    answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
    answer.raw_output_contents.append(to_raw(array, datatype))


class FakeSuite:
    """Registry, scheduler and inference behind one address."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.scheduler = FakeScheduler()
        self.inference = FakeInference()
        self.address = ""

    @contextlib.asynccontextmanager
    async def serve(self, address: str = "127.0.0.1:0") -> AsyncIterator[FakeSuite]:
        server = Server("fake")
        server.add(registry_pb2.DESCRIPTOR.services_by_name["Registry"], self.registry)
        server.add(scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"], self.scheduler)
        server.add(messages.SERVICE, self.inference)
        self.address = await server.start(address)
        try:
            yield self
        finally:
            await server.stop(0)


@contextlib.contextmanager
def serve_in_thread() -> Iterator[FakeSuite]:
    """A suite on an event loop of its own, for tests of what blocks."""
    suite = FakeSuite()
    serving = threading.Event()
    stops: list[Callable[[], object]] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        async with suite.serve():
            serving.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert serving.wait(30)
        yield suite
    finally:
        stops[0]()
        thread.join()
