"""Requests and responses of whole batches, written and read around their tensors: each is copied once at most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from google.protobuf.message import DecodeError

from modelyard.errors import InternalError, InvalidInputError
from modelyard.oip import messages
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array, from_raw, to_raw
from modelyard.oip.wire import RAW_INPUT, fields, varint
from modelyard.rpc.build import build

RAW_OUTPUTS = 6
"""The field of a ModelInferResponse that holds its tensors."""
Tensors = Mapping[str, tuple[str, Array]]
"""By name: datatype and array; BYTES are objects, BF16 its bits as UINT16."""


def raw_request(model: str, version: str, inputs: Tensors) -> bytes:
    """A serialized ModelInferRequest with raw contents.

    Raises:
        InvalidInputError: a name that no message can hold, or an element of BYTES that is none.
    """
    head = build(messages.ModelInferRequest, model_name=model, model_version=version)
    contents: list[bytes | memoryview] = []
    for name, (kind, array) in inputs.items():
        head.inputs.append(
            build(messages.ModelInferRequest.InferInputTensor, name=name, datatype=kind, shape=array.shape)
        )
        raw = _contents(kind, array)
        contents += (RAW_INPUT, varint(len(raw)), raw)
    return b"".join((head.SerializeToString(), *contents))


def _contents(kind: str, array: Array) -> bytes | memoryview:
    """The raw contents, which are the array's own memory where it is as the protocol wants it."""
    dtype = DATATYPES[kind].dtype
    if kind == "BYTES" or not array.size:
        return to_raw(array, kind)
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def raw_outputs(response: bytes) -> dict[str, tuple[str, Array]]:
    """The outputs of a serialized ModelInferResponse with raw contents; arrays are views of it where they can be.

    Raises:
        InternalError: it is none, or its contents do not fit.
    """
    try:
        answer, contents = _split(response)
        if len(contents) != len(answer.outputs):
            raise InternalError(f"expected raw contents of {len(answer.outputs)} outputs, got {len(contents)}")
        return {
            output.name: (output.datatype, from_raw(output.name, output.datatype, output.shape, raw))
            for output, raw in zip(answer.outputs, contents, strict=True)
        }
    except (DecodeError, IndexError, ValueError, InvalidInputError) as error:
        raise InternalError(f"expected a ModelInferResponse, got {len(response)} bytes: {error}") from error


def _split(response: bytes) -> tuple[messages.ModelInferResponse, list[memoryview]]:
    """A response without its tensors, and these."""
    view = memoryview(response)
    rest, raw, position = [], [], 0
    for number, begin, end in fields(view):
        if number == RAW_OUTPUTS:
            raw.append(view[begin:end])
        else:
            rest.append(view[position:end])
        position = end
    return messages.ModelInferResponse.FromString(b"".join(rest)), raw
