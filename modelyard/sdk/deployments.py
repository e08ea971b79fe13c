"""Deployments and workers: what is served, where, and why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping

from modelyard.backoff import Backoff
from modelyard.deployment import InstanceOptions, InstanceState, Selector
from modelyard.errors import DeadlineError, ModelExecutionError, UnavailableError
from modelyard.results import DeploymentStatus, Endpoints, InstanceStatus, LogPart, WorkerStatus
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.connection import Calls, resolve
from modelyard.sdk.settings import check_timeout
from modelyard.v1 import scheduler_pb2 as pb

FIRST_POLL_S = 0.05
MAX_POLL_S = 0.5


class DeploymentCalls(Calls):
    """What is served. A `name` may be `name@version_or_alias`."""

    async def deploy(  # noqa: PLR0913 (all but three by name)
        self,
        name: str,
        version: str = "",
        replicas: int = 1,
        *,
        options: InstanceOptions | None = None,
        on: Selector | Mapping[str, str] | None = None,
        on_demand: bool = False,
        idle_s: float = 0.0,
        replace: bool = False,
        wait: bool = True,
        timeout_s: float = 60.0,
    ) -> DeploymentStatus:
        """Serve a version, the newest where none is given; deploying it again changes all of this.

        Args:
            name: the model.
            version: a version or an alias.
            replicas: how many workers shall hold it.
            options: how each instance is run; of a deployment that is served, they are changed replica by replica.
            on: where replicas may go: to some workers by name, to those with some labels (which may be given alone);
                anywhere where it is None.
            on_demand: load it at the first call, evict it for others when it is idle.
            idle_s: unload an on-demand one that was not called for so long; 0: only when others need the room.
            replace: end the model's other deployments once all replicas of this one answer.
            wait: return only once all replicas answer, and what they replace has ended; an on-demand deployment, which
                is loaded when it is called, is not waited for.
            timeout_s: how long to wait for that.

        Raises:
            NotFoundError: no such model or version.
            InvalidInputError: a value makes no sense; the message names it, what was expected and what came.
            ModelExecutionError: a replica failed to load; the message is the reason.
            UnavailableError: not all replicas answered in time; the message says what stands in the way.
            ExhaustedError: no worker that it may be on can hold it.
        """
        reference = resolve(name, version)
        ends_s = time.monotonic() + check_timeout(timeout_s)
        request = build(
            pb.DeployRequest,
            model=reference.model,
            version=reference.version,
            replicas=replicas,
            options=convert.options_to_pb(options or InstanceOptions()),
            on=convert.selector_to_pb(_selector(on)),
            on_demand=on_demand,
            idle_s=idle_s,
            replace=replace,
        )
        answer = await self._connection.call(self._connection.scheduler.Deploy, request, timeout_s=timeout_s)
        status = convert.deployment_from_pb(answer)
        return await self._wait_ready(status, ends_s) if wait and not on_demand else status

    async def _wait_ready(self, status: DeploymentStatus, ends_s: float) -> DeploymentStatus:
        pause = Backoff(FIRST_POLL_S, MAX_POLL_S)
        before = set(status.instances)
        while not status.ready or status.replaces:
            _check_loading(status, before)
            delay_s = pause.next()
            if time.monotonic() + delay_s >= ends_s:
                raise await self._not_ready(status)
            await asyncio.sleep(delay_s)
            try:
                status = await self._status(status.model, status.version, ends_s - time.monotonic())
            except DeadlineError:  # the last look came too late: what was seen before is told
                raise await self._not_ready(status) from None
        return status

    async def _status(self, model: str, version: str, timeout_s: float | None = None) -> DeploymentStatus:
        method = self._connection.scheduler.GetDeployment
        request = pb.GetDeploymentRequest(model=model, version=version)
        return convert.deployment_from_pb(await self._connection.call(method, request, timeout_s=timeout_s))

    async def _not_ready(self, status: DeploymentStatus) -> UnavailableError:
        findings = await self.explain(status.model, status.version)
        name = f"{status.model}@{status.version}"
        why = findings or [f"{name}: {status.ready_replicas} of {status.replicas} replicas READY"]
        return UnavailableError(f"{name} is not READY in time: {'; '.join(why)}")

    async def undeploy(self, name: str, version: str = "") -> list[str]:
        """Stop serving a version, or all of the model's where none is given; return which.

        Raises:
            NotFoundError: no such model, or it is not deployed.
        """
        reference = resolve(name, version)
        request = pb.UndeployRequest(model=reference.model, version=reference.version)
        answer = await self._connection.call(self._connection.scheduler.Undeploy, request, retry=False)
        return list(answer.versions)

    async def deployment(self, name: str, version: str = "") -> DeploymentStatus:
        """Return one deployment; raise NotFoundError if there is none."""
        reference = resolve(name, version)
        return await self._status(reference.model, reference.version)

    async def deployments(self) -> list[DeploymentStatus]:
        """Return all deployments."""
        method = self._connection.scheduler.ListDeployments
        answer = await self._connection.call(method, pb.ListDeploymentsRequest())
        return [convert.deployment_from_pb(status) for status in answer.deployments]

    async def workers(self) -> list[WorkerStatus]:
        """Return the live workers."""
        answer = await self._connection.call(self._connection.scheduler.ListWorkers, pb.ListWorkersRequest())
        return [convert.worker_from_pb(worker) for worker in answer.workers]

    async def explain(self, name: str, version: str = "") -> list[str]:
        """Return why a deployment is, or is not, READY: findings of one line, the cause first."""
        reference = resolve(name, version)
        request = pb.ExplainRequest(model=reference.model, version=reference.version)
        return list((await self._connection.call(self._connection.scheduler.Explain, request)).findings)

    async def logs(self, name: str, version: str = "", tail_bytes: int = 0) -> AsyncGenerator[LogPart, None]:
        """Yield the end of what the model's runners printed, worker by worker.

        Args:
            name: the model.
            version: a version or an alias; all deployed ones where none is given.
            tail_bytes: how much of each log; 0 for 64 KiB.
        """
        reference = resolve(name, version)
        request = build(pb.ReadLogsRequest, model=reference.model, version=reference.version, tail_bytes=tail_bytes)
        async for part in self._connection.stream(self._connection.scheduler.ReadLogs, request):
            yield LogPart(part.worker, part.version, part.data)

    async def endpoints(self) -> Endpoints:
        """Return where the services listen."""
        answer = await self._connection.call(self._connection.scheduler.GetEndpoints, pb.GetEndpointsRequest())
        return Endpoints(tuple(answer.registries), tuple(answer.schedulers))


def _selector(on: Selector | Mapping[str, str] | None) -> Selector:
    if on is None or isinstance(on, Selector):
        return on or Selector()
    return Selector(labels=tuple(on.items()))


def _check_loading(status: DeploymentStatus, before: Collection[InstanceStatus]) -> None:
    """Raise ModelExecutionError if a replica has failed, or what is to follow it while it answers.

    Of the latter, what was so before it was deployed is no news.
    """
    name = f"{status.model}@{status.version}"
    for instance in status.instances:
        if instance.state is InstanceState.FAILED:
            raise ModelExecutionError(f"{name} failed to load on {instance.worker}: {instance.reason}")
        if instance.state is InstanceState.READY and instance.failures and instance.reason and instance not in before:
            raise ModelExecutionError(
                f"{name} goes on as it was on {instance.worker}: it failed to load {instance.reason}"
            )
