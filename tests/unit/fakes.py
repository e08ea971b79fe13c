"""A front door in this process, over real gRPC: what it answers is for the test to say."""

# ruff: noqa: N802 (methods bear the names of the protocol)

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from modelyard.oip import messages
from modelyard.oip.tensors import Array, decode_inputs, to_raw
from modelyard.rpc.server import Server
from modelyard.v1 import jobs_pb2, registry_pb2, scheduler_pb2
from tests.unit.fake_catalogue import Fake
from tests.unit.fake_jobs import FakeJobs
from tests.unit.fake_registry import FakeRegistry


class FakeScheduler(Fake):
    """One deployment that goes through `states`, a call of GetDeployment each, and stays in the last.

    While it is `silent`, GetDeployment gets no answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[str, str]] = [("READY", "")]
        self.endpoints = scheduler_pb2.GetEndpointsResponse()
        self.findings = ["no worker has 2 GiB free"]
        self.ordered: Any = None
        self.asked_logs: list[Any] = []
        self.silent = False

    def _deployment(self, model: str, version: str, replicas: int = 1) -> Any:
        state, reason = self.states[0]
        if len(self.states) > 1:
            self.states.pop(0)
        failures = int(bool(reason))
        instance = scheduler_pb2.Instance(worker="worker-0", state=state, reason=reason, failures=failures)
        instance.memory_bytes = 256 << 20
        return scheduler_pb2.Deployment(
            model=model,
            version=version or "1",
            replicas=replicas,
            instances=[instance],
            ready_replicas=int(state == "READY" and not reason),
        )

    async def Deploy(self, request: Any, context: Any) -> Any:
        self.called("Deploy", context)
        self.ordered = request
        answer = self._deployment(request.model, request.version, request.replicas)
        answer.options.CopyFrom(request.options)
        answer.on.CopyFrom(request.on)
        answer.on_demand, answer.idle_s = request.on_demand, request.idle_s
        if request.replace:
            answer.replaces.append("0")
        return answer

    async def GetDeployment(self, request: Any, context: Any) -> Any:
        self.called("GetDeployment", context)
        if self.silent:
            await asyncio.Event().wait()
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
        worker.draining = True
        worker.placements.append("digits@1")
        return scheduler_pb2.ListWorkersResponse(workers=[worker])

    async def Explain(self, request: Any, context: Any) -> Any:
        self.called("Explain", context)
        return scheduler_pb2.ExplainResponse(findings=self.findings)

    async def ReadLogs(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.called("ReadLogs", context)
        self.asked_logs.append(request)
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
    """Registry, scheduler, inference and jobs behind one address."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.scheduler = FakeScheduler()
        self.inference = FakeInference()
        self.jobs = FakeJobs()
        self.address = ""

    @contextlib.asynccontextmanager
    async def serve(self, address: str = "127.0.0.1:0") -> AsyncIterator[FakeSuite]:
        server = Server("fake")
        server.add(registry_pb2.DESCRIPTOR.services_by_name["Registry"], self.registry)
        server.add(scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"], self.scheduler)
        server.add(messages.SERVICE, self.inference)
        server.add(jobs_pb2.DESCRIPTOR.services_by_name["Jobs"], self.jobs)
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
