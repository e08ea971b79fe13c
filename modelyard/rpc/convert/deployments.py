"""Deployments, instances and workers."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard import deployment, results
from modelyard.rpc.build import build
from modelyard.rpc.convert.types import (
    options_from_pb,
    options_to_pb,
    resources_from_pb,
    resources_to_pb,
    seconds,
    timestamp,
)
from modelyard.v1 import scheduler_pb2


def selector_to_pb(on: deployment.Selector) -> scheduler_pb2.Selector:
    """Where replicas may go."""
    return build(scheduler_pb2.Selector, workers=on.workers, labels=dict(on.labels))


def selector_from_pb(on: scheduler_pb2.Selector) -> deployment.Selector:
    """Where replicas may go; labels in the order of their keys."""
    return deployment.Selector(tuple(on.workers), tuple(sorted(on.labels.items())))


def instance_to_pb(instance: deployment.Instance) -> scheduler_pb2.Instance:
    """A loaded copy."""
    return scheduler_pb2.Instance(
        worker=instance.worker,
        state=instance.state.value,
        reason=instance.reason,
        endpoint=instance.endpoint,
        memory_bytes=instance.memory_bytes,
        failures=instance.failures,
    )


def instance_from_pb(instance: scheduler_pb2.Instance) -> results.InstanceStatus:
    """A loaded copy, as a client sees it."""
    state = deployment.InstanceState(scheduler_pb2.Instance.State.Name(instance.state))
    return results.InstanceStatus(
        instance.worker, state, instance.reason, instance.endpoint, instance.memory_bytes, instance.failures
    )


def deployment_from_pb(status: scheduler_pb2.Deployment) -> results.DeploymentStatus:
    """A deployment, as a client sees it."""
    return results.DeploymentStatus(
        model=status.model,
        version=status.version,
        replicas=status.replicas,
        ready_replicas=status.ready_replicas,
        resources=resources_from_pb(status.resources),
        instances=tuple(instance_from_pb(i) for i in status.instances),
        tenant=status.tenant,
        create_time_s=seconds(status.create_time),
        options=options_from_pb(status.options),
        on=selector_from_pb(status.on),
        on_demand=status.on_demand,
        idle_s=status.idle_s,
        replaces=tuple(status.replaces),
    )


def worker_from_pb(worker: scheduler_pb2.Worker) -> results.WorkerStatus:
    """A worker, as a client sees it."""
    return results.WorkerStatus(
        id=worker.id,
        address=worker.address,
        cpu=worker.cpu,
        memory_bytes=worker.memory_bytes,
        reserved_bytes=worker.reserved_bytes,
        devices=tuple(deployment.Device(d.name, d.kind, d.memory_bytes) for d in worker.devices),
        labels=dict(worker.labels),
        placements=tuple(worker.placements),
        draining=worker.draining,
    )


def deployment_to_pb(
    wanted: deployment.Deployment, instances: Iterable[deployment.Instance], ready_replicas: int
) -> scheduler_pb2.Deployment:
    """A deployment with what became of it."""
    return scheduler_pb2.Deployment(
        model=wanted.model,
        version=wanted.version,
        replicas=wanted.replicas,
        resources=resources_to_pb(wanted.resources),
        tenant=wanted.tenant,
        create_time=timestamp(wanted.create_time_s),
        instances=[instance_to_pb(i) for i in instances],
        ready_replicas=ready_replicas,
        options=options_to_pb(wanted.options),
        on=selector_to_pb(wanted.on),
        on_demand=wanted.on_demand,
        idle_s=wanted.idle_s,
        replaces=wanted.replaces,
    )


def worker_to_pb(worker: deployment.Worker, reserved_bytes: int, placements: Iterable[str]) -> scheduler_pb2.Worker:
    """A live worker with what is placed on it."""
    devices = [scheduler_pb2.Device(name=d.name, kind=d.kind, memory_bytes=d.memory_bytes) for d in worker.devices]
    return scheduler_pb2.Worker(
        id=worker.id,
        address=worker.address,
        cpu=worker.cpu,
        memory_bytes=worker.memory_bytes,
        devices=devices,
        labels=worker.labels,
        reserved_bytes=reserved_bytes,
        placements=placements,
        draining=worker.draining,
    )
