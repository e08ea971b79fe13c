"""The datatypes of the Open Inference Protocol, their sizes, their numpy types and their typed-contents fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError

BF16_STORAGE = np.dtype("<u2")
"""numpy has no bfloat16: its 16 bits travel as uint16."""


@dataclass(frozen=True)
class Datatype:
    """One row: OIP name, little-endian numpy type, field of InferTensorContents (None: raw only)."""

    name: str
    dtype: np.dtype[np.generic]
    contents: str | None

    @property
    def item_bytes(self) -> int:
        """The size of one element; 0 for BYTES, whose elements differ."""
        return 0 if self.name == "BYTES" else self.dtype.itemsize


DATATYPES = {
    row.name: row
    for row in (
        Datatype("BOOL", np.dtype("?"), "bool_contents"),
        Datatype("INT8", np.dtype("<i1"), "int_contents"),
        Datatype("INT16", np.dtype("<i2"), "int_contents"),
        Datatype("INT32", np.dtype("<i4"), "int_contents"),
        Datatype("INT64", np.dtype("<i8"), "int64_contents"),
        Datatype("UINT8", np.dtype("<u1"), "uint_contents"),
        Datatype("UINT16", np.dtype("<u2"), "uint_contents"),
        Datatype("UINT32", np.dtype("<u4"), "uint_contents"),
        Datatype("UINT64", np.dtype("<u8"), "uint64_contents"),
        Datatype("FP16", np.dtype("<f2"), None),
        Datatype("BF16", BF16_STORAGE, None),
        Datatype("FP32", np.dtype("<f4"), "fp32_contents"),
        Datatype("FP64", np.dtype("<f8"), "fp64_contents"),
        Datatype("BYTES", np.dtype("O"), "bytes_contents"),
    )
}

_BY_DTYPE = {row.dtype: row.name for row in DATATYPES.values() if row.name != "BF16"}


def datatype(name: str, tensor: str) -> Datatype:
    """Return the row of a datatype; raise InvalidInputError naming the tensor if there is none."""
    row = DATATYPES.get(name)
    if row is None:
        raise InvalidInputError(f"input {tensor!r}: expected a datatype of {', '.join(DATATYPES)}; got {name!r}")
    return row


def datatype_of(array: npt.NDArray[np.generic]) -> str:
    """Name the datatype of an array: strings and objects are BYTES, ml_dtypes' bfloat16 is BF16."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    if array.dtype.name == "bfloat16":
        return "BF16"
    name = _BY_DTYPE.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise InvalidInputError(f"numpy type {array.dtype} has no datatype in the Open Inference Protocol")
    return name


OF_ONNX_RUNTIME = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
"""The datatypes of tensors, by the names that ONNX Runtime gives them."""
