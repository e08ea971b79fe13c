"""ONNX Runtime behind our interface: every datatype it runs, and shapes at the edges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from modelyard.catalogue import TensorSpec
from modelyard.deployment import InstanceOptions
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.datatypes import BF16_STORAGE, DATATYPES
from modelyard.oip.tensors import Array
from modelyard_worker import runtimes
from modelyard_worker.runtimes.onnx import OnnxRuntime
from tests import models

SHAPES: list[tuple[int, ...]] = [(), (1,), (0,), (3, 2), (0, 4), (2, 0, 3), (1, 1, 1, 1, 1)]
TEXTS = [b"plain", b"", "größer 你好".encode(), b"with\0null", b" ", "🙂".encode(), b"\n", b"x" * 1000]


def loaded(model: onnx.ModelProto, directory: Path) -> OnnxRuntime:
    models.save(model, directory / "model.onnx")
    return OnnxRuntime(directory, 1)


def values(datatype: str, shape: tuple[int, ...]) -> Array:
    """Values of every kind: extremes and ordinary ones."""
    count = int(np.prod(shape))
    if datatype == "BYTES":
        array = np.empty(count, object)
        array[:] = [TEXTS[i % len(TEXTS)] for i in range(count)]
        return array.reshape(shape)
    if datatype == "BF16":
        return np.arange(0x3F80, 0x3F80 + count).astype(BF16_STORAGE).reshape(shape)
    dtype: Any = DATATYPES[datatype].dtype
    if datatype == "BOOL":
        return np.resize(np.array([True, False]), count).reshape(shape)
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    edge: Array = np.array([limits.min, limits.max, 0, 1], dtype)
    return np.resize(edge, count).reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", DATATYPES)
def test_identity_of_every_datatype_and_shape(datatype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    runtime = loaded(models.identity(datatype, shape), tmp_path)
    assert runtime.signature.inputs == (TensorSpec("x", datatype, shape),)
    given = values(datatype, shape)
    found = runtime.run({"x": given}, ["y"])["y"]
    assert found.shape == shape
    if datatype == "BYTES":
        assert [e.encode() for e in found.reshape(-1)] == given.reshape(-1).tolist()
    else:
        assert found.dtype == given.dtype
        assert found.tobytes() == given.tobytes()


@pytest.mark.parametrize("datatype", ["FP32", "BF16", "BYTES"])
def test_dynamic_dimensions_take_any_size(datatype: str, tmp_path: Path) -> None:
    runtime = loaded(models.identity(datatype, (-1, 2)), tmp_path)
    assert runtime.signature.outputs == (TensorSpec("y", datatype, (-1, 2)),)
    for rows in (0, 1, 7):
        assert runtime.run({"x": values(datatype, (rows, 2))}, ["y"])["y"].shape == (rows, 2)


def test_bfloat16_is_computed_and_not_only_passed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["twice"]),
        helper.make_node("Cast", ["twice"], ["y"], to=TensorProto.BFLOAT16),
    ]
    inputs, outputs = [models.tensor("x", "BF16", [-1])], [models.tensor("y", "BF16", [-1])]
    runtime = loaded(models.build(nodes, inputs, outputs), tmp_path)
    bits = (np.array([1.0, -2.5, 0.0], np.float32).view(np.uint32) >> 16).astype(BF16_STORAGE)
    doubled = runtime.run({"x": bits}, ["y"])["y"]
    assert ((doubled.astype(np.uint32) << 16).view(np.float32)).tolist() == [2.0, -5.0, 0.0]


def through(kinds: dict[str, str], directory: Path) -> OnnxRuntime:
    """A model that returns each input x of its datatype as x_."""
    nodes = [helper.make_node("Identity", [name], [f"{name}_"]) for name in kinds]
    inputs = [models.tensor(name, kind, [-1]) for name, kind in kinds.items()]
    outputs = [models.tensor(f"{name}_", kind, [-1]) for name, kind in kinds.items()]
    return loaded(models.build(nodes, inputs, outputs), directory)


def test_bfloat16_beside_other_datatypes(tmp_path: Path) -> None:
    kinds = {kind.lower(): kind for kind in DATATYPES if kind != "BYTES"}
    given = {name: values(kind, (5,)) for name, kind in kinds.items()}
    found = through(kinds, tmp_path).run(given, [f"{name}_" for name in kinds])
    assert {name: found[f"{name}_"].tobytes() for name in kinds} == {n: a.tobytes() for n, a in given.items()}


def test_bfloat16_and_bytes_go_in_but_bfloat16_cannot_come_out_beside_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["s"], ["t"]),
    ]
    inputs = [models.tensor("x", "BF16", [1]), models.tensor("s", "BYTES", [2])]
    outputs = [models.tensor("y", "FP32", [1]), models.tensor("t", "BYTES", [2])]
    runtime = loaded(models.build(nodes, inputs, outputs), tmp_path)
    text = np.array([b"a", b""], object)
    found = runtime.run({"x": np.array([0x4000], BF16_STORAGE), "s": text}, ["y", "t"])
    assert found["y"].tolist() == [2.0]
    assert found["t"].tolist() == ["a", ""]
    with pytest.raises(InvalidInputError, match="expected no BYTES input beside a BF16 output"):
        through({"x": "BF16", "s": "BYTES"}, tmp_path)


def test_bytes_come_out_beside_bfloat16(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Cast", ["x"], ["t"], to=TensorProto.STRING),
    ]
    outputs = [models.tensor("y", "BF16", [-1]), models.tensor("t", "BYTES", [-1])]
    runtime = loaded(models.build(nodes, [models.tensor("x", "BF16", [-1])], outputs), tmp_path)
    found = runtime.run({"x": np.array([0x4000, 0xBF80], BF16_STORAGE)}, ["t", "y"])
    assert [float(t) for t in found["t"]] == [2.0, -1.0]
    assert found["y"].tolist() == [0x4000, 0xBF80]


def test_read_only_inputs_are_not_copied_back(tmp_path: Path) -> None:
    runtime = loaded(models.mlp((4, 3)), tmp_path)
    frozen = np.frombuffer(np.ones((2, 4), np.float32).tobytes(), np.float32).reshape(2, 4)
    reference = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert np.array_equal(runtime.run({"x": frozen}, ["y"])["y"], reference.run(None, {"x": frozen})[0])


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    runtime = loaded(models.concat_strings(), tmp_path)
    inputs = {"a": np.array([b"ok", b"\xff\xfe"], object), "b": np.array([b"", b""], object)}
    with pytest.raises(InvalidInputError, match=re.escape(r"input 'a': expected UTF-8 in BYTES, got b'\xff\xfe'")):
        runtime.run(inputs, ["c"])


def test_what_the_model_itself_raises_is_its_failure(tmp_path: Path) -> None:
    runtime = loaded(models.lookup(4), tmp_path)
    with pytest.raises(ModelExecutionError, match="indices element out of data bounds"):
        runtime.run({"i": np.array([9])}, ["y"])
    assert runtime.run({"i": np.array([3])}, ["y"])["y"].tolist() == [3.0]


def test_outputs_are_those_asked_for(tmp_path: Path) -> None:
    runtime = loaded(models.sum_and_difference(), tmp_path)
    inputs = {"a": np.full((1, 16), 5, np.int32), "b": np.full((1, 16), 3, np.int32)}
    assert list(runtime.run(inputs, ["difference"])) == ["difference"]
    assert runtime.run(inputs, ["difference", "sum"])["sum"][0, 0] == 8


def test_external_data_is_found_beside_the_model(tmp_path: Path) -> None:
    models.external(tmp_path)
    assert OnnxRuntime(tmp_path, 1).run({"x": np.zeros((1, 64), np.float32)}, ["y"])["y"].shape == (1, 10)


def test_the_model_may_lie_deeper(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    loaded(models.mlp((4, 3)), tmp_path / "deep")
    assert runtimes.load("onnx", tmp_path, InstanceOptions(), 2).signature.inputs == (TensorSpec("x", "FP32", (-1, 4)),)


def test_a_format_without_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="format: expected onnx or torch_export, got 'pickle'"):
        runtimes.load("pickle", tmp_path, InstanceOptions(), 1)


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceLength", ["s"], ["n"])
    model = models.build([node], [sequence], [models.tensor("n", "INT64", [])])
    with pytest.raises(
        InvalidInputError, match=r"'s': expected a tensor of an OIP datatype, got seq\(tensor\(float\)\)"
    ):
        loaded(model, tmp_path)
