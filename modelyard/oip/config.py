"""What a server says of a model: its metadata, and its configuration as Triton writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.catalogue import Signature, TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.oip import messages
from modelyard.oip.parameters import DEFAULT_PRIORITY, MAX_PRIORITY

_DATA_TYPES = messages.POOL.FindEnumTypeByName("inference.DataType").values_by_name
_INSTANCE_KINDS = messages.POOL.FindEnumTypeByName("inference.ModelInstanceGroup.Kind").values_by_name
_MAX_INT64 = (1 << 63) - 1


@dataclass(frozen=True)
class ServedModel:
    """What is known of a model that is served.

    Attributes:
        versions: those of the model that are served beside it, itself among them.
        platform: of its engine, as Triton names it: `onnxruntime_onnx`.
    """

    name: str
    versions: Sequence[str]
    platform: str
    signature: Signature
    options: InstanceOptions = field(default_factory=InstanceOptions)

    @property
    def max_batch_size(self) -> int:
        """How many rows are executed at once; 0: calls are executed one by one.

        Rows are batched where every input and output has a first dimension that is dynamic.
        """
        tensors = (*self.signature.inputs, *self.signature.outputs)
        batched = all(t.shape and t.shape[0] == -1 for t in tensors)
        return self.options.max_batch_size if batched else 0


def model_metadata(model: ServedModel) -> messages.ModelMetadataResponse:
    """Name, versions, platform, inputs and outputs; shapes include the dimension of the rows."""
    return messages.ModelMetadataResponse(
        name=model.name,
        versions=model.versions,
        platform=model.platform,
        inputs=[_metadata(t) for t in model.signature.inputs],
        outputs=[_metadata(t) for t in model.signature.outputs],
    )


def _metadata(spec: TensorSpec) -> messages.ModelMetadataResponse.TensorMetadata:
    return messages.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)


def model_config(model: ServedModel) -> messages.ModelConfigResponse:
    """The configuration, completed from the model's own signature and the deployment's options.

    Where rows are batched (`max_batch_size` above 0) `dims` leave out their dimension, as Triton's do.
    """
    response = messages.ModelConfigResponse()
    config: Any = response.config
    config.name = model.name
    config.platform = model.platform
    config.backend = model.platform.partition("_")[0]
    config.max_batch_size = model.max_batch_size
    _add_versions(config, model.versions)
    for spec in model.signature.inputs:
        _add_tensor(config.input, spec, config.max_batch_size)
    for spec in model.signature.outputs:
        _add_tensor(config.output, spec, config.max_batch_size)
    kind = "KIND_GPU" if model.options.device.startswith("cuda") else "KIND_CPU"
    config.instance_group.add(name=model.name, count=model.options.copies, kind=_INSTANCE_KINDS[kind].number)
    if config.max_batch_size:
        _add_batching(config.dynamic_batching, model.options)
    for name in ("threads", "precision"):
        if value := getattr(model.options, name):
            config.parameters[name].string_value = str(value)
    return response


def _add_versions(config: Any, versions: Sequence[str]) -> None:
    """Those that are served, where Triton's numbers can say it."""
    if versions and all(v.isascii() and v.isdecimal() and int(v) <= _MAX_INT64 for v in versions):
        config.version_policy.specific.versions.extend(int(v) for v in versions)
    else:
        config.version_policy.all.SetInParent()


def _add_tensor(tensors: Any, spec: TensorSpec, max_batch_size: int) -> None:
    data_type = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    dims = spec.shape[1:] if max_batch_size else spec.shape
    tensors.add(name=spec.name, data_type=_DATA_TYPES[data_type].number, dims=dims)


def _add_batching(batching: Any, options: InstanceOptions) -> None:
    batching.preferred_batch_size.extend(options.preferred_batch_sizes)
    batching.max_queue_delay_microseconds = options.max_queue_delay_us
    batching.priority_levels = MAX_PRIORITY
    batching.default_priority_level = DEFAULT_PRIORITY
    batching.default_queue_policy.allow_timeout_override = True
    batching.default_queue_policy.max_queue_size = options.max_queue_size
