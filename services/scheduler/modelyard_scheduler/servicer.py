"""modelyard.v1.Scheduler: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from modelyard.deployment import Deployment, Instance
from modelyard.names import ModelVersion, check_name
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import scheduler_pb2 as pb
from modelyard_scheduler.logs import Logs
from modelyard_scheduler.orders import Order
from modelyard_scheduler.rollout import as_wanted
from modelyard_scheduler.service import Deployments
from modelyard_scheduler.state import State


class SchedulerServicer:
    """The controller over gRPC."""

    def __init__(self, deployments: Deployments, state: State) -> None:
        self._deployments = deployments
        self._state = state
        self._logs = Logs(state)

    async def Deploy(self, request: pb.DeployRequest, context: Context) -> pb.Deployment:
        """Declare that a version shall be served."""
        order = Order(
            model=request.model,
            reference=request.version,
            replicas=request.replicas,
            options=convert.options_from_pb(request.options),
            on=convert.selector_from_pb(request.on),
            on_demand=request.on_demand,
            idle_s=request.idle_s,
            replace=request.replace,
        )
        return self._current(await self._deployments.deploy(order, tenant_of(context)))

    async def Undeploy(self, request: pb.UndeployRequest, context: Context) -> pb.UndeployResponse:
        """Withdraw it."""
        return pb.UndeployResponse(versions=await self._deployments.undeploy(request.model, request.version))

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Context) -> pb.Deployment:
        """Return one deployment and its instances."""
        return self._current(await self._deployments.get(request.model, request.version))

    async def ListDeployments(self, request: pb.ListDeploymentsRequest, context: Context) -> pb.ListDeploymentsResponse:
        """Return all deployments."""
        found = await self._deployments.all()
        instances = self._state.instances_by_version()
        shown = [self._shown(d, instances.get(ModelVersion(d.model, d.version), [])) for d in found]
        return pb.ListDeploymentsResponse(deployments=shown)

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        """Return the live workers."""
        load = self._state.load()
        placed = self._state.placed_by_worker()
        return pb.ListWorkersResponse(
            workers=[
                convert.worker_to_pb(worker, load.on(worker.id).memory_bytes, sorted(placed.get(worker.id, [])))
                for worker in sorted(self._state.workers.items.values(), key=lambda w: w.id)
            ]
        )

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """Say why a deployment is, or is not, READY."""
        return pb.ExplainResponse(findings=await self._deployments.explain(request.model, request.version))

    async def ReadLogs(self, request: pb.ReadLogsRequest, context: Context) -> AsyncIterator[pb.ReadLogsResponse]:
        """Stream what the runners of a model printed, version by version and worker by worker.

        Of a training job, what its processes printed. A worker that cannot be asked is said so.
        """
        if request.job:
            async for worker_id, name, data in self._logs.of_job(check_name("job", request.job), request.tail_bytes):
                yield pb.ReadLogsResponse(worker=worker_id, version=name, data=data)
            return
        for deployment in await self._deployments.select(request.model, request.version):
            version = ModelVersion(deployment.model, deployment.version)
            for worker_id in sorted(self._state.assignment().get(version, [])):
                async for data in self._logs.of_instance(worker_id, version, request.tail_bytes):
                    yield pb.ReadLogsResponse(worker=worker_id, version=deployment.version, data=data)

    async def GetEndpoints(self, request: pb.GetEndpointsRequest, context: Context) -> pb.GetEndpointsResponse:
        """Say where the services listen."""
        return pb.GetEndpointsResponse(
            registries=sorted(m.address for m in self._state.registries.items.values()),
            schedulers=sorted(m.address for m in self._state.schedulers.items.values()),
        )

    def _current(self, deployment: Deployment) -> pb.Deployment:
        return self._shown(deployment, self._state.instances_of(ModelVersion(deployment.model, deployment.version)))

    def _shown(self, deployment: Deployment, instances: Sequence[Instance]) -> pb.Deployment:
        ready = self._state.ready_replicas(deployment, instances)
        return convert.deployment_to_pb(deployment, [as_wanted(i, deployment) for i in instances], ready)
