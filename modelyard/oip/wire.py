"""Serialized messages without parsing them: what one may contain, and one around another.

The wire format is that of https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

SMALL_BYTES = 16 << 10
"""A search through so much costs less than a walk over its fields."""
MAX_FIELDS = 256
"""A message of more is protobuf's to walk: here each costs as much as thousands of bytes there."""
RAW_INPUTS = 7
"""The field of a ModelInferRequest that holds its tensors."""
RAW_INPUT = b"\x3a"
"""Its tag."""
_INFER_RESPONSE = b"\x12"
"""The tag of ModelStreamInferResponse.infer_response."""
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


def without_tensors(request: bytes) -> bytes:
    """A serialized ModelInferRequest without its raw tensors where it is a large one, cheaper to parse than the whole.

    What is no such request, or one of many fields, comes back as it is.
    """
    found = split(request) if len(request) > SMALL_BYTES else None
    return request if found is None else found[0]


def split(request: bytes | memoryview) -> tuple[bytes, list[memoryview]] | None:
    """A serialized ModelInferRequest without its raw tensors, and these, which are not copied.

    None where protobuf has to judge: it is no message, has more than MAX_FIELDS, or is not as anybody writes it.
    """
    view = memoryview(request)
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    position = 0
    try:
        for number, begin, end in fields(view):
            if number != RAW_INPUTS:
                rest.append(view[position:end])
            elif view[position:begin] == RAW_INPUT + varint(end - begin):
                raw.append(view[begin:end])
            else:
                return None
            if len(rest) + len(raw) > MAX_FIELDS:
                return None
            position = end
    except (IndexError, ValueError):
        return None
    return b"".join(rest), raw


def streamed(response: bytes) -> bytes:
    """A serialized ModelInferResponse as the infer_response of a serialized ModelStreamInferResponse."""
    return _INFER_RESPONSE + varint(len(response)) + response


def varint(value: int) -> bytes:
    """A number of 0 or more as protobuf writes it."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def fields(data: bytes | memoryview) -> Iterator[tuple[int, int, int]]:
    """The fields of a message: the number of each, where its content begins and ends.

    Raises:
        IndexError: the message ends within a field.
        ValueError: a field is of a kind that we do not know.
    """
    position, size = 0, len(data)
    while position < size:
        tag, position = read_varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _DELIMITED:
            length, position = read_varint(data, position)
        elif kind == _VARINT:
            length = read_varint(data, position)[1] - position
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise ValueError(f"wire type {kind}")
        begin, position = position, position + length
        if position > size:
            raise IndexError("the message ends within a field")
        yield number, begin, position


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it; raises as `fields` does."""
    value = shift = 0
    while (byte := data[position]) > 0x7F:
        value |= (byte & 0x7F) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")
    return value | byte << shift, position + 1
