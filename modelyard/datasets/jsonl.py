"""JSONL: an object a line, its members are columns; lists within lists are dimensions.

What a column holds is inferred from all its values: BOOL, INT64, FP64 or BYTES (strings, in UTF-8). A member that is
missing, null, or of another shape than that of the first row which has it, makes its row unreadable. One whose kind
changes cannot be used: a string is no number here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa

from modelyard.datasets.arrays import column_of, row_shape
from modelyard.datasets.blocks import TextIndex, whole_rows
from modelyard.datasets.columns import Column
from modelyard.datasets.source import Source
from modelyard.datasets.text import TextDataset
from modelyard.errors import InvalidInputError

KIND = "jsonl"
Row = dict[str, Any]
_DECODER = msgspec.json.Decoder(Row)
_ARROW_ERRORS = (pa.ArrowException, OverflowError, ValueError, TypeError)


class JsonlDataset(TextDataset):
    """A JSONL file."""

    def __init__(self, source: Source, index: TextIndex | None = None) -> None:
        """Index the file in one pass, unless that is given.

        Raises:
            InvalidInputError: a row is no JSON object (it is named), or the index is of another file.
        """
        if index is None:
            index = _Pass(source).run()
        index.check(source, KIND)
        super().__init__(source, index)

    def _parse(self, text: bytes, columns: Sequence[Column]) -> Sequence[pa.Array]:
        rows = list(_rows(text, self.name, 0))
        return [_array([row.get(column.name) for row in rows], _type(column)) for column in columns]


def _last_line_end(text: bytes, offset: int) -> int:
    del offset
    return text.rfind(b"\n") + 1


def _rows(text: bytes, name: str, begin: int) -> Iterator[Row]:
    row = begin
    for line in text.split(b"\n"):
        if line.strip():
            try:
                yield _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise InvalidInputError(f"{name}: row {row}: expected a JSON object: {error}") from error
            row += 1


def _array(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Values as an array; those that the type does not have are left out, as if they were missing."""
    try:
        return pa.array(values, kind)
    except _ARROW_ERRORS:
        if kind is None:
            raise
        return pa.array([value if _fits(value, kind) else None for value in values], kind)


def _fits(value: object, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except _ARROW_ERRORS:
        return False
    return True


def _type(column: Column) -> pa.DataType:
    """Lists of any length, so that a row whose lists have another is told, not refused with all others."""
    kinds = {"BOOL": pa.bool_(), "INT64": pa.int64(), "FP64": pa.float64(), "BYTES": pa.large_string()}
    found = kinds[column.datatype]
    for _ in column.shape:
        found = pa.large_list(found)
    return found


class _Pass:
    """One pass over a file: blocks, and the columns' types so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._types: dict[str, pa.DataType] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._unusable: dict[str, str] = {}

    def run(self) -> TextIndex:
        """The index."""
        offsets, begins = [0], [0]
        for _, text in whole_rows(self._source, 0, _last_line_end):
            rows = list(_rows(text, self._source.name, begins[-1]))
            for name in dict.fromkeys(name for row in rows for name in row):
                self._look(name, [row.get(name) for row in rows], begins[-1])
            offsets.append(offsets[-1] + len(text))
            begins.append(begins[-1] + len(rows))
        columns = tuple(self._columns())
        return TextIndex(KIND, self._source.size_bytes, columns, self._unusable, tuple(offsets), tuple(begins))

    def _look(self, name: str, values: list[Any], begin: int) -> None:
        """Take note of what a block has of a column."""
        if name in self._unusable:
            return
        before = self._types.get(name, pa.null())
        merged = _merged(before, values)
        if merged is None:
            row = bisect_left(range(len(values)), True, key=lambda n: _merged(before, values[: n + 1]) is None)
            value = msgspec.json.encode(values[row]).decode()
            self._unusable[name] = f"row {begin + row} has {value:.80}, which is of another kind than what is before it"
            return
        self._types[name] = merged
        column = column_of(name, merged)
        if column and name not in self._shapes:
            self._find_shape(column, values)

    def _find_shape(self, column: Column, values: list[Any]) -> None:
        """Note the shape of the first row that has one."""
        shapes = (row_shape(pa.array([value]), len(column.shape)) for value in values if value is not None)
        shape = next((shape for shape in shapes if shape is not None), None)
        if shape is not None:
            self._shapes[column.name] = shape

    def _columns(self) -> Iterator[Column]:
        for name, kind in self._types.items():
            column = column_of(name, kind)
            if name in self._unusable:
                continue
            if column is None or name not in self._shapes:
                self._unusable[name] = f"{kind} has no datatype in the Open Inference Protocol, or no row has a value"
                continue
            yield replace(column, shape=self._shapes[name], inferred=True)


def _merged(before: pa.DataType, values: list[Any]) -> pa.DataType | None:
    """The type of values and of what came before them; None: there is none."""
    try:
        return _wider(before, pa.array(values).type)
    except _ARROW_ERRORS:
        return None


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = _wider(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else None
