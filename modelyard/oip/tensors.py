"""Tensors between the Open Inference Protocol and numpy.

Raw contents are little-endian and row-major; a BYTES element is its length as uint32 and then its bytes. Arrays of
BYTES have dtype object and hold `bytes`. BF16 is held as uint16, its bits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.datatypes import Datatype, datatype, datatype_of
from modelyard.rpc.build import build

Array = npt.NDArray[Any]


def to_raw(array: Array, name: str) -> bytes:
    """Return the raw contents of an array of the datatype `name`."""
    if name == "BYTES":
        elements = [_element(e) for e in array.reshape(-1).tolist()]
        return b"".join(struct.pack("<I", len(e)) + e for e in elements)
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _element(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(f"expected text that UTF-8 can encode, got {value!a:.80}") from None
    if isinstance(value, bytes):
        return value
    raise InvalidInputError(f"expected bytes or str in an array of BYTES, got {type(value).__name__}")


def from_raw(tensor: str, name: str, shape: Sequence[int], raw: bytes | memoryview) -> Array:
    """Return the array of raw contents, without a copy where the datatype has a fixed size.

    Raises:
        InvalidInputError: the bytes do not fit the shape.
    """
    row = datatype(name, tensor)
    count = _element_count(tensor, shape)
    if name == "BYTES":
        return _bytes_from_raw(tensor, shape, count, raw)
    expected = count * row.item_bytes
    if len(raw) != expected:
        raise InvalidInputError(f"input {tensor!r}: expected {expected} bytes for {name} {list(shape)}, got {len(raw)}")
    return _shaped(tensor, np.frombuffer(raw, row.dtype), shape)


def _bytes_from_raw(tensor: str, shape: Sequence[int], count: int, raw: bytes | memoryview) -> Array:
    if len(raw) < 4 * count:
        raise InvalidInputError(
            f"input {tensor!r}: expected at least {4 * count} bytes for BYTES {list(shape)}, got {len(raw)}"
        )
    array = np.empty(count, object)
    position = 0
    for index in range(count):
        if position + 4 > len(raw):
            raise InvalidInputError(
                f"input {tensor!r}: expected {count} elements for BYTES {list(shape)}, raw contents end after {index}"
            )
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        array[index] = bytes(raw[position - length : position])
    if position != len(raw):
        raise InvalidInputError(
            f"input {tensor!r}: expected {position} bytes for {count} BYTES elements, got {len(raw)}"
        )
    return _shaped(tensor, array, shape)


def from_contents(tensor: str, name: str, shape: Sequence[int], contents: messages.InferTensorContents) -> Array:
    """Return the array of typed contents.

    Raises:
        InvalidInputError: the field does not belong to the datatype, holds another number of elements than the shape
            has, or a value is out of the datatype's range.
    """
    row = datatype(name, tensor)
    filled = [field.name for field, _ in contents.ListFields()]
    if row.contents is None:
        raise InvalidInputError(f"input {tensor!r}: {name} has no typed contents; expected raw_input_contents")
    if filled not in ([], [row.contents]):
        raise InvalidInputError(f"input {tensor!r}: expected {row.contents} for {name}, got {', '.join(filled)}")
    values = getattr(contents, row.contents)
    count = _element_count(tensor, shape)
    if len(values) != count:
        raise InvalidInputError(
            f"input {tensor!r}: expected {count} elements in {row.contents} for {name} {list(shape)}, got {len(values)}"
        )
    return _shaped(tensor, _typed_array(tensor, row, values), shape)


def _typed_array(tensor: str, row: Datatype, values: Sequence[Any]) -> Array:
    if row.name == "BYTES":
        array = np.empty(len(values), object)
        array[:] = values
        return array
    try:
        return np.array(values, row.dtype)
    except OverflowError:
        worst = max(values, key=abs)
        raise InvalidInputError(f"input {tensor!r}: expected values in the range of {row.name}, got {worst}") from None


def _element_count(tensor: str, shape: Sequence[int]) -> int:
    if any(dim < 0 for dim in shape):
        raise InvalidInputError(f"input {tensor!r}: expected a shape without negative dimensions, got {list(shape)}")
    return math.prod(shape)


def parse_request(data: bytes) -> messages.ModelInferRequest:
    """Read a serialized request; raise InvalidInputError for bytes that are none."""
    try:
        return messages.ModelInferRequest.FromString(data)
    except DecodeError:
        raise InvalidInputError(f"expected a ModelInferRequest, got {len(data)} bytes that are none") from None


def _shaped(tensor: str, array: Array, shape: Sequence[int]) -> Array:
    try:
        return array.reshape(shape)
    except ValueError:  # beside a dimension of 0 others may be of any size
        raise InvalidInputError(
            f"input {tensor!r}: expected a shape that fits into memory, got {list(shape)}"
        ) from None


def decode_inputs(
    request: messages.ModelInferRequest, raw: Sequence[bytes | memoryview] | None = None
) -> dict[str, tuple[str, Array]]:
    """Return each input's datatype and array; `raw` are its raw contents where the message itself is without them.

    Raises:
        InvalidInputError: raw and typed contents in one request, a count that does not match, or a bad tensor.
    """
    raw = request.raw_input_contents if raw is None else raw
    if raw and len(raw) != len(request.inputs):
        raise InvalidInputError(
            f"raw_input_contents: expected one entry for each of the {len(request.inputs)} inputs, got {len(raw)}"
        )
    decoded: dict[str, tuple[str, Array]] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name in decoded:
            raise InvalidInputError(f"input {tensor.name!r}: expected once, got twice")
        typed = tensor.HasField("contents") and bool(tensor.contents.ListFields())
        if raw and typed:
            raise InvalidInputError(f"input {tensor.name!r}: expected raw or typed contents, got both")
        if raw:
            array = from_raw(tensor.name, tensor.datatype, tensor.shape, raw[index])
        else:
            array = from_contents(tensor.name, tensor.datatype, tensor.shape, tensor.contents)
        decoded[tensor.name] = (tensor.datatype, array)
    return decoded


def encode_request(
    model: str, version: str, inputs: dict[str, Array], outputs: Sequence[str] = ()
) -> messages.ModelInferRequest:
    """Return a request with raw contents; datatypes are those of the arrays.

    Raises:
        InvalidInputError: an array has a type that the protocol lacks, or elements that it cannot carry.
    """
    request = messages.ModelInferRequest(model_name=model, model_version=version)
    for name, array in inputs.items():
        kind = datatype_of(array)
        kept = build(messages.ModelInferRequest.InferInputTensor, name=name, datatype=kind, shape=array.shape)
        request.inputs.append(kept)
        try:
            request.raw_input_contents.append(to_raw(array, kind))
        except InvalidInputError as error:
            raise InvalidInputError(f"input {name!r}: {error.message}") from None
    for name in outputs:
        request.outputs.append(build(messages.ModelInferRequest.InferRequestedOutputTensor, name=name))
    return request


def decode_response(response: messages.ModelInferResponse) -> dict[str, Array]:
    """Return the outputs by name; BF16 is widened to float32, which numpy has."""
    decoded: dict[str, Array] = {}
    for index, tensor in enumerate(response.outputs):
        if response.raw_output_contents:
            array = from_raw(tensor.name, tensor.datatype, tensor.shape, response.raw_output_contents[index])
        else:
            array = from_contents(tensor.name, tensor.datatype, tensor.shape, tensor.contents)
        if tensor.datatype == "BF16":
            array = (array.astype("<u4") << 16).view("<f4")
        decoded[tensor.name] = array
    return decoded
