from typing import Any

import pytest

from modelyard.catalogue import Signature, TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.oip.config import ServedModel, model_config, model_metadata
from modelyard.oip.datatypes import DATATYPES

BATCHED = Signature((TensorSpec("x", "FP32", (-1, 64)),), (TensorSpec("y", "FP32", (-1, 10)),))
FIXED = Signature((TensorSpec("x", "FP32", (1, 64)),), (TensorSpec("y", "FP32", (-1, 10)),))
SCALAR = Signature((TensorSpec("x", "FP32", ()),), (TensorSpec("y", "FP32", ()),))


def served(signature: Signature = BATCHED, versions: tuple[str, ...] = ("1",), **options: Any) -> ServedModel:
    return ServedModel("m", versions, "onnxruntime_onnx", signature, InstanceOptions(**options))


def config(signature: Signature = BATCHED, versions: tuple[str, ...] = ("1",), **options: Any) -> Any:
    return model_config(served(signature, versions, **options)).config


def tensors(kept: Any) -> list[tuple[str, int, list[int]]]:
    return [(t.name, t.data_type, list(t.dims)) for t in kept]


FP32 = 11


def test_where_rows_are_batched_dims_are_those_of_one_row() -> None:
    found = config(max_batch_size=8)
    assert found.max_batch_size == 8
    assert (tensors(found.input), tensors(found.output)) == ([("x", FP32, [64])], [("y", FP32, [10])])


def test_metadata_shapes_include_the_dimension_of_the_rows() -> None:
    metadata = model_metadata(served(max_batch_size=8))
    assert [(list(t.shape), t.datatype) for t in (*metadata.inputs, *metadata.outputs)] == [
        ([-1, 64], "FP32"),
        ([-1, 10], "FP32"),
    ]
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("m", ["1"], "onnxruntime_onnx")


def test_without_batching_dims_are_the_whole_shape() -> None:
    found = config()
    assert found.max_batch_size == 0
    assert tensors(found.input) == [("x", FP32, [-1, 64])]
    assert not found.HasField("dynamic_batching")


@pytest.mark.parametrize("signature", [FIXED, SCALAR])
def test_a_model_whose_first_dimension_is_fixed_is_not_batched(signature: Signature) -> None:
    found = config(signature, max_batch_size=8)
    assert found.max_batch_size == 0
    assert [list(t.dims) for t in found.input] == [list(t.shape) for t in signature.inputs]


def test_batching() -> None:
    found = config(max_batch_size=8, preferred_batch_sizes=(4, 8), max_queue_delay_us=100, max_queue_size=7)
    batching = found.dynamic_batching
    assert list(batching.preferred_batch_size) == [4, 8]
    assert batching.max_queue_delay_microseconds == 100
    assert (batching.priority_levels, batching.default_priority_level) == (9, 5)
    assert (batching.default_queue_policy.max_queue_size, batching.default_queue_policy.allow_timeout_override) == (
        7,
        True,
    )


@pytest.mark.parametrize(("device", "kind"), [("", 2), ("cpu", 2), ("cuda", 1), ("cuda:1", 1)])
def test_instances(device: str, kind: int) -> None:
    (group,) = config(copies=3, device=device).instance_group
    assert (group.count, group.kind) == (3, kind)


def test_engine_and_parameters() -> None:
    found = config(threads=4, precision="fp16")
    assert (found.platform, found.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert {k: v.string_value for k, v in found.parameters.items()} == {"threads": "4", "precision": "fp16"}


def test_versions() -> None:
    assert list(config(versions=("1", "12")).version_policy.specific.versions) == [1, 12]
    assert config(versions=("1", "v2")).version_policy.HasField("all")
    assert config(versions=("9" * 30,)).version_policy.HasField("all")


@pytest.mark.parametrize("name", DATATYPES)
def test_every_datatype_has_its_number(name: str) -> None:
    spec = TensorSpec("x", name, (-1,))
    found = config(Signature((spec,), (spec,)))
    said = found.input[0].DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[found.input[0].data_type]
    assert said.name == ("TYPE_STRING" if name == "BYTES" else f"TYPE_{name}")
