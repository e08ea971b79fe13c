"""Thrift's compact protocol, as far as a Parquet footer needs it: structs as they are, without their definition.

A struct is a dict of its fields, by their numbers, each with its type; a list is its elements' type and values. What is
read is written again unchanged, so fields that nobody here knows survive.

Source: the specification of the compact protocol, https://github.com/apache/thrift/blob/master/doc/specs.
"""

from __future__ import annotations

from typing import Any

STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)

Struct = dict[int, tuple[int, Any]]
"""Number of the field: its type and value."""
List = tuple[int, list[Any]]
"""Type of the elements, and they."""


class MalformedError(ValueError):
    """Bytes are not of the protocol."""


class Reader:
    """Reads values from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> Struct:
        """The struct that comes next.

        Raises:
            MalformedError: it is none.
        """
        found: Struct = {}
        number = 0
        while (head := self._byte()) != STOP:
            number = number + (head >> 4) if head >> 4 else _signed(self._varint())
            kind = head & 0x0F
            found[number] = kind, (kind == TRUE if kind in {TRUE, FALSE} else self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in {I16, I32, I64}:
            return _signed(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind in {LIST, SET}:
            return self._list()
        lengths = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}
        if kind not in lengths and kind != BINARY:
            raise MalformedError(f"expected no value of type {kind}")
        return self._bytes(lengths[kind] if kind in lengths else self._varint())

    def _list(self) -> List:
        head = self._byte()
        count = head >> 4 if head >> 4 != 0x0F else self._varint()
        kind = head & 0x0F
        return kind, [self._value(kind) for _ in range(count)]

    def _varint(self) -> int:
        value = shift = 0
        while (octet := self._byte()) & 0x80:
            value |= (octet & 0x7F) << shift
            shift += 7
        return value | octet << shift

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        data = self._data[self._at : self._at + length]
        if len(data) < length:
            raise MalformedError("it ends too early")
        self._at += length
        return data


def _signed(zigzag: int) -> int:
    return zigzag >> 1 ^ -(zigzag & 1)


def encode(struct: Struct) -> bytes:
    """The bytes of a struct."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number, (kind, value) in sorted(struct.items()):
        if 0 < number - before < 0x10:
            out.append((number - before) << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _zigzag(number))
        if kind not in {TRUE, FALSE}:
            _write(out, kind, value)
        before = number
    out.append(STOP)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in {I16, I32, I64}:
        _write_varint(out, _zigzag(value))
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in {LIST, SET}:
        _write_list(out, value)
    else:
        if kind == BINARY:
            _write_varint(out, len(value))
        out += value


def _write_list(out: bytearray, value: List) -> None:
    kind, elements = value
    if len(elements) < 0x0F:
        out.append(len(elements) << 4 | kind)
    else:
        out.append(0xF0 | kind)
        _write_varint(out, len(elements))
    for element in elements:
        _write(out, kind, element)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
