"""Requests that look like earlier ones are not parsed again.

A serialized ModelInferRequest has its fields in the order of their numbers: names, id, parameters, inputs, outputs, raw
contents. Where the bytes between the id and the first contents, and the sizes, are those of a request that was parsed
and found to be good, only the id and the values differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from modelyard.errors import InvalidInputError
from modelyard.oip import messages
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array, parse_request
from modelyard.oip.wire import MAX_FIELDS, RAW_INPUT, RAW_INPUTS, fields, split, varint

F = TypeVar("F")
Buffer = bytes | memoryview
MOST = 256
MAX_HEAD_BYTES = 4096
"""Of what stands before the first contents."""
_NAME, _VERSION, _ID = 0x0A, 0x12, 0x1A
_ID_FIELD = 3


class _Span(NamedTuple):
    """One tensor's contents: where they begin after the id, and what stands between them and those before."""

    name: str
    before: bytes
    before_at: int
    begin: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class _Layout(NamedTuple, Generic[F]):
    form: F
    spans: list[_Span]


class Layouts(Generic[F]):
    """The layouts of the requests that were parsed last; `F` is what is known of a request beside id and values."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int, bytes], _Layout[F]] = {}
        self._heads: dict[tuple[bytes, int], int] = {}

    def find(self, data: Buffer) -> tuple[F, bytes, dict[str, Array]] | None:
        """Return what is known of a request, its id and its inputs; None if it has to be parsed."""
        try:
            names, begin, end = _id_of(data)
        except IndexError:
            return None
        key = bytes(data[:names]), len(data) - end
        first = self._heads.get(key)
        if first is None:
            return None
        layout = self._known.get((*key, bytes(data[end : end + first])))
        if layout is None:
            return None
        request_id = bytes(data[begin:end])
        if not request_id.isascii():
            return None  # it may not be text
        inputs: dict[str, Array] = {}
        for name, before, before_at, at, dtype, shape in layout.spans:
            if before and data[end + before_at : end + at] != before:
                return None
            inputs[name] = np.ndarray(shape, dtype, data, end + at)
        return layout.form, request_id, inputs

    def learn(self, data: Buffer, request: messages.ModelInferRequest, raw: Sequence[Buffer], form: F) -> None:
        """Remember the layout of a good request, if it is one whose contents can be found by their place."""
        try:
            names, begin, end = _id_of(data)
        except IndexError:
            return
        if bytes(data[begin:end]) != request.id.encode():
            return
        spans = _spans(data, request, raw, end)
        if spans and spans[0].begin <= MAX_HEAD_BYTES and _is_plain(data[end : end + spans[0].before_at]):
            if len(self._known) >= MOST:
                self._known.clear()
                self._heads.clear()
            key, first = (bytes(data[:names]), len(data) - end), spans[0].begin
            self._heads[key] = first
            self._known[*key, bytes(data[end : end + first])] = _Layout(form, spans)


def _id_of(data: Buffer) -> tuple[int, int, int]:
    """Where the names end, where the id begins and where it ends: the id's field may be missing.

    Raises:
        IndexError: there is nothing after it.
    """
    names = 0
    if data[0] == _NAME and data[1] < 0x80:
        names = 2 + data[1]
    if data[names] == _VERSION and data[names + 1] < 0x80:
        names += 2 + data[names + 1]
    if data[names] == _ID and data[names + 1] < 0x80:
        return names, names + 2, names + 2 + data[names + 1]
    return names, names, names


def _spans(data: Buffer, request: messages.ModelInferRequest, raw: Sequence[Buffer], end: int) -> list[_Span]:
    """Each tensor's place, found from the end; none if one has no fixed size, or is not where it should be."""
    spans: list[_Span] = []
    position = len(data)
    for index in range(len(raw) - 1, -1, -1):
        tensor, contents = request.inputs[index], raw[index]
        begin, tag = position - len(contents), RAW_INPUT + varint(len(contents))
        position = begin - len(tag)
        row = DATATYPES[tensor.datatype]
        if not row.item_bytes or position < end:
            return []
        if data[position:begin] != tag or data[begin : begin + len(contents)] != contents:
            return []
        shape = tuple(tensor.shape)
        before = tag if index else b""  # what stands before the first is compared with the rest
        spans.insert(0, _Span(tensor.name, before, position - end, begin - end, row.dtype, shape))
    return spans


def _is_plain(head: Buffer) -> bool:
    """Whether what stands between the id and the first contents are whole fields, and neither an id nor contents."""
    try:
        for count, (number, _, _) in enumerate(fields(head)):
            if number in (_ID_FIELD, RAW_INPUTS) or count >= MAX_FIELDS:
                return False
    except (IndexError, ValueError):
        return False
    return True


def parse_large(data: Buffer) -> tuple[messages.ModelInferRequest, Sequence[Buffer]]:
    """Parse a serialized request except its raw contents, which are not copied unless its fields are very many.

    Raises:
        InvalidInputError: it is none.
    """
    found = split(data)
    if found is None:
        request = parse_request(bytes(data))
        return request, request.raw_input_contents
    try:
        return parse_request(found[0]), found[1]
    except InvalidInputError:
        raise InvalidInputError(f"expected a ModelInferRequest, got {len(data)} bytes that are none") from None
