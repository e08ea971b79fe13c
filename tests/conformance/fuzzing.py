"""Requests that nobody would write: any bytes, any message of the protocol, and almost good ones, whole or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from hypothesis import strategies as st

from modelyard.oip import messages
from modelyard.oip.datatypes import DATATYPES

MAX_ITEMS = 3
INT32 = st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1)
INT64 = st.sampled_from([0, 1, 2, -1, 2**31, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
UINT32 = st.sampled_from([0, 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
UINT64 = st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: INT32,
    FieldDescriptor.CPPTYPE_INT64: INT64,
    FieldDescriptor.CPPTYPE_UINT32: UINT32,
    FieldDescriptor.CPPTYPE_UINT64: UINT64,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
}
RESERVED = (
    "priority",
    "timeout",
    "sequence_id",
    "sequence_start",
    "sequence_end",
    "routing_key",
    "classification",
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "triton_enable_empty_final_response",
    "version",
    "log_verbose_level",
    "trace_rate",
)
"""Names that mean something."""


def methods(named: Sequence[str] = ()) -> list[MethodDescriptor]:
    """Those of the service, all unless some are named."""
    return [m for m in messages.SERVICE.methods if not named or m.name in named]


def serialized(method: MethodDescriptor, names: Sequence[str]) -> st.SearchStrategy[bytes]:
    """Requests of a method; `names` are those of models that there are."""
    words = st.sampled_from([*names, *RESERVED, *DATATYPES, "x", "y", "1"]) | TEXT
    whole = built(method.input_type, words).map(lambda message: message.SerializeToString())
    return st.binary(max_size=100) | whole | damaged(whole)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A serialized message of which bytes were changed, or the end is missing."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, MAX_ITEMS))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@st.composite
def built(draw: st.DrawFn, descriptor: Any, words: st.SearchStrategy[str]) -> Any:
    """A message, any of whose fields may be set to anything that they can hold."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if draw(st.booleans()):
            _set(draw, message, field, words)
    return message


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, words: st.SearchStrategy[str]) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        held = getattr(message, field.name)
        for key in draw(st.lists(words, max_size=MAX_ITEMS)):
            held[key].CopyFrom(draw(built(kind.fields_by_name["value"].message_type, words)))
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_value(field, words), max_size=MAX_ITEMS)))
    elif kind is not None:
        getattr(message, field.name).CopyFrom(draw(built(kind, words)))
    else:
        setattr(message, field.name, draw(_value(field, words)))


def _value(field: FieldDescriptor, words: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return built(field.message_type, words)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=40) if field.type == FieldDescriptor.TYPE_BYTES else words
    return SCALARS[field.cpp_type]


@st.composite
def almost_good(draw: st.DrawFn, model: str) -> bytes:
    """A request for x FP32 [-1, 64] -> y FP32 [-1, 10], with one thing or another done to it."""
    request = messages.ModelInferRequest(model_name=model, id=draw(TEXT))
    rows = draw(st.integers(0, 3))
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[rows, 64])
    request.raw_input_contents.append(bytes(rows * 256))
    if draw(st.booleans()):
        tensor.shape[:] = draw(st.lists(INT64, max_size=4))
    if draw(st.booleans()):
        tensor.datatype = draw(st.sampled_from(list(DATATYPES)) | TEXT)
    if draw(st.booleans()):
        request.raw_input_contents[:] = draw(st.lists(st.binary(max_size=300), max_size=2))
    if draw(st.booleans()):
        tensor.contents.CopyFrom(draw(built(messages.InferTensorContents.DESCRIPTOR, TEXT)))
    if draw(st.booleans()):
        request.outputs.add(name=draw(st.sampled_from(["y", "z"])))
    owners: list[Any] = [request, tensor, *request.outputs]
    for owner in owners:
        for name in draw(st.lists(st.sampled_from(RESERVED), max_size=2)):
            owner.parameters[name].CopyFrom(draw(built(messages.InferParameter.DESCRIPTOR, TEXT)))
    return request.SerializeToString()
