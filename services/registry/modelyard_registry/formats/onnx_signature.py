"""What an ONNX artifact says of itself: is it valid and whole, and which tensors does it take and return."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard_registry.formats.known import only_file
from modelyard_registry.formats.onnx_operators import refuse_custom_operators
from modelyard_registry.formats.signatures import check_signature

_DATATYPES: dict[int, str] = {
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.INT16: "INT16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.UINT16: "UINT16",
    onnx.TensorProto.UINT32: "UINT32",
    onnx.TensorProto.UINT64: "UINT64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.STRING: "BYTES",
}


def read_signature(directory: Path, *, allow_unsafe: bool = False) -> Signature:
    """Check the ONNX artifact in a directory and return its signature.

    Of external data only presence and length are looked at.

    Args:
        directory: the artifact; its one .onnx file is read.
        allow_unsafe: accept operators that need custom code.

    Raises:
        InvalidInputError: not exactly one .onnx file, not valid ONNX, external data missing, operators that need custom
            code while none is allowed, or an input or output that the Open Inference Protocol cannot carry.
    """
    path = only_file("onnx", ".onnx", directory)
    try:
        signature = _signature(path, allow_unsafe)
        onnx.checker.check_model(path)
    except DecodeError:
        raise InvalidInputError(f"{path.name}: expected an ONNX model, got something that is not ONNX") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path.name}: expected an ONNX model, got names that are not UTF-8") from None
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0].replace(f"{directory}/", "")
        raise InvalidInputError(f"{path.name}: expected a valid ONNX model: {reason}") from None
    return signature


def _signature(path: Path, allow_unsafe: bool) -> Signature:
    model = onnx.load(path, load_external_data=False)
    if not allow_unsafe:
        refuse_custom_operators(path.name, model)
    _check_external_data(path, model)
    constants = {i.name for i in model.graph.initializer} | {i.values.name for i in model.graph.sparse_initializer}
    inputs = tuple(_tensor(path, v) for v in model.graph.input if v.name not in constants)
    outputs = tuple(_tensor(path, v) for v in model.graph.output)
    return check_signature(path.name, Signature(inputs, outputs))


def _check_external_data(path: Path, model: onnx.ModelProto) -> None:
    root = path.parent
    sizes = {f.relative_to(root).as_posix(): f.stat().st_size for f in root.rglob("*") if f.is_file()}
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        name = posixpath.normpath(location)
        if name.startswith(("/", "../")) or name == "..":
            raise InvalidInputError(f"{path.name}: expected external data beside the model, got {location!r}")
        if name not in sizes:
            raise InvalidInputError(f"{path.name}: expected its external data file {location!r}, which is missing")
        end = _integer(path, entries, "offset") + _integer(path, entries, "length")
        if end > sizes[name]:
            raise InvalidInputError(
                f"{path.name}: expected {end} bytes or more in its external data file {location!r}, got {sizes[name]}"
            )


def _integer(path: Path, entries: dict[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidInputError(f"{path.name}: external data: expected a whole number as {key}, got {text[:64]!r}")
    return int(text)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant of a model: initializers and attributes, of subgraphs and functions too."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in (a for node in nodes for a in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)


def _tensor(path: Path, value: onnx.ValueInfoProto) -> TensorSpec:
    if not isinstance(value.name, str):  # bytes, where they are no UTF-8
        raise InvalidInputError(f"{path.name}: expected an ONNX model, got names that are not UTF-8")
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InvalidInputError(f"{path.name}: {value.name!r}: expected a tensor, got {kind}")
    tensor = value.type.tensor_type
    name = _DATATYPES.get(tensor.elem_type)
    if name is None:
        raise InvalidInputError(f"{path.name}: {value.name!r}: ONNX type {tensor.elem_type} has no OIP datatype")
    # A dimension that is named or absent is dynamic.
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    return TensorSpec(value.name, name, shape)
