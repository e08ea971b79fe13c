"""What an artifact says of itself: is it the format it claims, and which tensors does it take and return."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, _get_all_tensors, uses_external_data

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError

FORMATS = ("onnx",)

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


def read_signature(format_name: str, directory: Path) -> Signature:
    """Check the artifact in a directory and return its signature.

    Raises:
        InvalidInputError: an unknown format, or the files are not what the format asks for.
    """
    if format_name not in FORMATS:
        raise InvalidInputError(f"format: expected one of {', '.join(FORMATS)}; got {format_name!r}")
    return _read_onnx(onnx_file(directory))


def onnx_file(directory: Path) -> Path:
    """The one .onnx file of an artifact."""
    found = sorted(directory.rglob("*.onnx"))
    if len(found) != 1:
        names = ", ".join(f.name for f in found) or "none"
        raise InvalidInputError(f"format onnx: expected exactly one .onnx file, got {names}")
    return found[0]


def _read_onnx(path: Path) -> Signature:
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise InvalidInputError(f"{path.name}: expected an ONNX model, got something that is not ONNX") from None
    _check_external_data(path, model)
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        raise InvalidInputError(f"{path.name}: expected a valid ONNX model: {_first_line(error)}") from None
    constants = {i.name for i in model.graph.initializer}
    return Signature(
        tuple(_tensor(path, v) for v in model.graph.input if v.name not in constants),
        tuple(_tensor(path, v) for v in model.graph.output),
    )


def _check_external_data(path: Path, model: onnx.ModelProto) -> None:
    root = path.parent.resolve()
    for location in sorted({ExternalDataInfo(t).location for t in _external(model)}):
        target = (root / location).resolve()
        if not target.is_relative_to(root):
            raise InvalidInputError(f"{path.name}: expected external data beside the model, got {location!r}")
        if not target.is_file():
            raise InvalidInputError(f"{path.name}: expected its external data file {location!r}, which is missing")


def _external(model: onnx.ModelProto) -> Iterable[onnx.TensorProto]:
    return (t for t in _get_all_tensors(model) if uses_external_data(t))


def _tensor(path: Path, value: onnx.ValueInfoProto) -> TensorSpec:
    if value.type.WhichOneof("value") != "tensor_type":
        raise InvalidInputError(f"{path.name}: {value.name!r}: expected a tensor, got {value.type.WhichOneof('value')}")
    kind = value.type.tensor_type
    name = _DATATYPES.get(kind.elem_type)
    if name is None:
        raise InvalidInputError(f"{path.name}: {value.name!r}: ONNX type {kind.elem_type} has no OIP datatype")
    shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else -1 for d in kind.shape.dim)
    return TensorSpec(value.name, name, shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
