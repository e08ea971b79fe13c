"""Domain values to protobuf messages and back, for servicers and the SDK."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from modelyard import catalogue, deployment, results
from modelyard.v1 import registry_pb2, scheduler_pb2, types_pb2


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as a Timestamp."""
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def seconds(stamp: Timestamp) -> float:
    """A Timestamp as seconds since the epoch."""
    return stamp.seconds + stamp.nanos / 1e9


def tensor_to_pb(spec: catalogue.TensorSpec) -> types_pb2.TensorSpec:
    """An input or output."""
    return types_pb2.TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def tensor_from_pb(spec: types_pb2.TensorSpec) -> catalogue.TensorSpec:
    """An input or output."""
    return catalogue.TensorSpec(spec.name, spec.datatype, tuple(spec.shape))


def signature_to_pb(signature: catalogue.Signature) -> types_pb2.Signature:
    """A signature."""
    return types_pb2.Signature(
        inputs=[tensor_to_pb(t) for t in signature.inputs],
        outputs=[tensor_to_pb(t) for t in signature.outputs],
    )


def signature_from_pb(signature: types_pb2.Signature) -> catalogue.Signature:
    """A signature."""
    return catalogue.Signature(
        tuple(tensor_from_pb(t) for t in signature.inputs),
        tuple(tensor_from_pb(t) for t in signature.outputs),
    )


def resources_to_pb(resources: catalogue.Resources) -> types_pb2.Resources:
    """What an instance needs."""
    return types_pb2.Resources(cpu=resources.cpu, memory_bytes=resources.memory_bytes, gpu=resources.gpu)


def resources_from_pb(resources: types_pb2.Resources) -> catalogue.Resources:
    """What an instance needs."""
    return catalogue.Resources(resources.cpu, resources.memory_bytes, resources.gpu)


def alias_to_pb(alias: catalogue.Alias) -> registry_pb2.Alias:
    """An alias."""
    return registry_pb2.Alias(
        name=alias.name,
        version=alias.version,
        tenant=alias.tenant,
        update_time=timestamp(alias.update_time_s),
    )


def alias_from_pb(alias: registry_pb2.Alias) -> catalogue.Alias:
    """An alias."""
    return catalogue.Alias(alias.name, alias.version, alias.tenant, seconds(alias.update_time))


def model_to_pb(model: catalogue.Model) -> registry_pb2.Model:
    """A model."""
    return registry_pb2.Model(
        name=model.name,
        description=model.description,
        labels=model.labels,
        licence=model.licence,
        tenant=model.tenant,
        create_time=timestamp(model.create_time_s),
        aliases=[alias_to_pb(a) for a in model.aliases],
        latest_version=model.latest_version,
    )


def model_from_pb(model: registry_pb2.Model) -> catalogue.Model:
    """A model."""
    return catalogue.Model(
        name=model.name,
        description=model.description,
        labels=dict(model.labels),
        licence=model.licence,
        tenant=model.tenant,
        create_time_s=seconds(model.create_time),
        aliases=tuple(alias_from_pb(a) for a in model.aliases),
        latest_version=model.latest_version,
    )


def version_to_pb(version: catalogue.Version) -> registry_pb2.Version:
    """A version."""
    return registry_pb2.Version(
        model=version.model,
        version=version.version,
        format=version.format,
        signature=signature_to_pb(version.signature),
        resources=resources_to_pb(version.resources),
        manifest_digest=version.manifest_digest,
        size_bytes=version.size_bytes,
        labels=version.labels,
        description=version.description,
        tenant=version.tenant,
        create_time=timestamp(version.create_time_s),
    )


def version_from_pb(version: registry_pb2.Version) -> catalogue.Version:
    """A version."""
    return catalogue.Version(
        model=version.model,
        version=version.version,
        format=version.format,
        signature=signature_from_pb(version.signature),
        resources=resources_from_pb(version.resources),
        manifest_digest=version.manifest_digest,
        size_bytes=version.size_bytes,
        labels=dict(version.labels),
        description=version.description,
        tenant=version.tenant,
        create_time_s=seconds(version.create_time),
    )


def manifest_to_pb(manifest: catalogue.Manifest) -> registry_pb2.Manifest:
    """A manifest."""
    files = [registry_pb2.File(path=f.path, size_bytes=f.size_bytes, chunks=f.chunks) for f in manifest.files]
    return registry_pb2.Manifest(files=files, chunk_size_bytes=manifest.chunk_size_bytes)


def manifest_from_pb(manifest: registry_pb2.Manifest) -> catalogue.Manifest:
    """A manifest."""
    files = tuple(catalogue.File(f.path, f.size_bytes, tuple(f.chunks)) for f in manifest.files)
    return catalogue.Manifest(files, manifest.chunk_size_bytes)


def instance_to_pb(instance: deployment.Instance) -> scheduler_pb2.Instance:
    """A loaded copy."""
    return scheduler_pb2.Instance(
        worker=instance.worker,
        state=instance.state.value,
        reason=instance.reason,
        endpoint=instance.endpoint,
    )


def instance_from_pb(instance: scheduler_pb2.Instance) -> results.InstanceStatus:
    """A loaded copy, as a client sees it."""
    state = deployment.InstanceState(scheduler_pb2.Instance.State.Name(instance.state))
    return results.InstanceStatus(instance.worker, state, instance.reason, instance.endpoint)


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
    )
