"""What several services speak of: times, tensors, signatures, resources."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from modelyard import catalogue, deployment
from modelyard.rpc.build import build
from modelyard.v1 import types_pb2


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as a Timestamp."""
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def seconds(stamp: Timestamp) -> float:
    """A Timestamp as seconds since the epoch."""
    return stamp.seconds + stamp.nanos / 1e9


def tensor_to_pb(spec: catalogue.TensorSpec) -> types_pb2.TensorSpec:
    """An input or output."""
    return build(types_pb2.TensorSpec, name=spec.name, datatype=spec.datatype, shape=spec.shape)


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
    return build(types_pb2.Resources, cpu=resources.cpu, memory_bytes=resources.memory_bytes, gpu=resources.gpu)


def resources_from_pb(resources: types_pb2.Resources) -> catalogue.Resources:
    """What an instance needs."""
    return catalogue.Resources(resources.cpu, resources.memory_bytes, resources.gpu)


def options_to_pb(options: deployment.InstanceOptions) -> types_pb2.InstanceOptions:
    """How an instance is run."""
    return build(
        types_pb2.InstanceOptions,
        threads=options.threads,
        device=options.device,
        precision=options.precision,
        copies=options.copies,
        runner=options.runner,
        warm_up_batch_sizes=options.warm_up_batch_sizes,
        max_batch_size=options.max_batch_size,
        max_queue_delay_us=options.max_queue_delay_us,
        preferred_batch_sizes=options.preferred_batch_sizes,
        max_queue_size=options.max_queue_size,
    )


def options_from_pb(options: types_pb2.InstanceOptions) -> deployment.InstanceOptions:
    """How an instance is run."""
    return deployment.InstanceOptions(
        threads=options.threads,
        device=options.device,
        precision=options.precision,
        copies=options.copies or 1,
        runner=options.runner,
        warm_up_batch_sizes=tuple(options.warm_up_batch_sizes),
        max_batch_size=options.max_batch_size,
        max_queue_delay_us=options.max_queue_delay_us,
        preferred_batch_sizes=tuple(options.preferred_batch_sizes),
        max_queue_size=options.max_queue_size or deployment.DEFAULT_QUEUE_SIZE,
    )
