"""Small ONNX models for tests, built node by node: what they compute is known without running them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
INT32_MIN = -(2**31)

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""ONNX's element type of every datatype of the Open Inference Protocol."""


def tensor(name: str, datatype: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """An input or output; -1 becomes the symbolic dimension `batch`."""
    dims = ["batch" if dim == -1 else dim for dim in shape]
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[datatype], dims)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """A checked model of one graph."""
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write the model; return the path."""
    path.write_bytes(model.SerializeToString())
    return path


def mlp(layers: Sequence[int] = (64, 128, 128, 10), seed: int = 0) -> onnx.ModelProto:
    """A fully connected network with ReLU between its layers: x FP32 [-1, first] -> y FP32 [-1, last]."""
    random = np.random.default_rng(seed)
    nodes, weights, value = [], [], "x"
    last = len(layers) - 2
    for index, (width, height) in enumerate(itertools.pairwise(layers)):
        matrix = random.normal(0, width**-0.5, (width, height)).astype(np.float32)
        bias = random.normal(0, 0.1, height).astype(np.float32)
        weights += [numpy_helper.from_array(matrix, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        out = "y" if index == last else f"h{index}"
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [out]))
        value = out
        if index < last:
            nodes.append(helper.make_node("Relu", [out], [f"r{index}"]))
            value = f"r{index}"
    return build(nodes, [tensor("x", "FP32", [-1, layers[0]])], [tensor("y", "FP32", [-1, layers[-1]])], weights)


def identity(datatype: str, shape: Sequence[int] = (-1, 2)) -> onnx.ModelProto:
    """Returns its input unchanged: x -> y, of any datatype."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return build([node], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)])


def concat_strings() -> onnx.ModelProto:
    """Joins BYTES element by element: a [-1], b [-1] -> c [-1]."""
    node = helper.make_node("StringConcat", ["a", "b"], ["c"])
    inputs = [tensor("a", "BYTES", [-1]), tensor("b", "BYTES", [-1])]
    return build([node], inputs, [tensor("c", "BYTES", [-1])])


def sum_and_difference() -> onnx.ModelProto:
    """Two inputs, two outputs: a, b INT32 [-1, 16] -> sum, difference."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    inputs = [tensor(name, "INT32", [-1, 16]) for name in ("a", "b")]
    return build(nodes, inputs, [tensor(name, "INT32", [-1, 16]) for name in ("sum", "difference")])


def lookup(rows: int = 4) -> onnx.ModelProto:
    """Picks i INT64 [-1] out of 0.0, 1.0, ... -> y FP32 [-1]; past the last row the model itself fails."""
    table = numpy_helper.from_array(np.arange(rows, dtype=np.float32), "table")
    node = helper.make_node("Gather", ["table", "i"], ["y"])
    return build([node], [tensor("i", "INT64", [-1])], [tensor("y", "FP32", [-1])], [table])


def ballast(size_bytes: int, seed: int = 0) -> onnx.ModelProto:
    """Adds x FP32 [1] to the first of incompressible weights of about `size_bytes` -> y FP32 [1]."""
    weights = np.random.default_rng(seed).standard_normal(max(1, size_bytes // 4), dtype=np.float32)
    zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
    nodes = [
        helper.make_node("Gather", ["weights", "zero"], ["first"]),
        helper.make_node("Add", ["x", "first"], ["y"]),
    ]
    return build(
        nodes,
        [tensor("x", "FP32", [1])],
        [tensor("y", "FP32", [1])],
        [numpy_helper.from_array(weights, "weights"), zero],
    )


def external(directory: Path, layers: Sequence[int] = (64, 32, 10)) -> Path:
    """Write an mlp as model.onnx with its weights in weights.bin beside it; return the first's path."""
    path = directory / "model.onnx"
    onnx.save_model(
        mlp(layers),
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def crash_at_load() -> onnx.ModelProto:
    """Kills the process that loads it: folding the constant INT32_MIN / -1 raises SIGFPE on x86-64."""
    nodes = [helper.make_node("Div", ["a", "b"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
    weights = [_scalar("a", INT32_MIN), _scalar("b", -1)]
    return build(nodes, [tensor("x", "INT32", [-1])], [tensor("y", "INT32", [-1])], weights)


def crash_on_input(datatype: str = "INT32") -> onnx.ModelProto:
    """Returns the least integer / x for x [-1]; an element of -1 kills the process (SIGFPE on x86-64).

    Of INT32 it need not where eight and more are divided at once, of INT64 it always does.
    """
    node = helper.make_node("Div", ["a", "x"], ["y"])
    least = np.iinfo(datatype.lower()).min
    weights = [numpy_helper.from_array(np.array([least], datatype.lower()), "a")]
    return build([node], [tensor("x", datatype, [-1])], [tensor("y", datatype, [-1])], weights)


def unimplemented() -> onnx.ModelProto:
    """A valid model with an operator that ONNX Runtime does not have: x UINT8 [-1] -> y UINT8 [-1, -1, -1]."""
    node = helper.make_node("ImageDecoder", ["x"], ["y"])
    return build([node], [tensor("x", "UINT8", [-1])], [tensor("y", "UINT8", ["height", "width", "channels"])])


def _scalar(name: str, value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([value], np.int32), name)
