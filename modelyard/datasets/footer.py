"""Footers of Parquet files: that of several files one after the other is the first's, with the row groups of all.

A footer holds where every column of every row group begins, so those of a later file are moved by what precedes it. The
numbers are those of parquet.thrift (apache/parquet-format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from modelyard.datasets import thrift
from modelyard.datasets.source import Source
from modelyard.errors import DataLossError

MAGIC = b"PAR1"
TAIL = struct.Struct("<I4s")
"""The end of a file: how long the footer is, and MAGIC."""

_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_COLUMN_OFFSET, _COLUMN_METADATA = 2, 3
_PAGE_OFFSETS = (9, 10, 11, 14)
"""Of a column: its data, its index pages, its dictionary, its bloom filter."""
_INDEXES = (4, 5, 6, 7)
"""Of a column: where its page indexes are, which hold offsets themselves."""


def read_footer(source: Source) -> tuple[thrift.Struct, int]:
    """Return a file's footer, and where it begins: behind the last row group.

    Raises:
        DataLossError: it is not a whole Parquet file.
    """
    try:
        length, magic = TAIL.unpack(source.read(source.size_bytes - TAIL.size, TAIL.size))
        begin = source.size_bytes - TAIL.size - length
        if magic != MAGIC or begin < len(MAGIC):
            raise thrift.MalformedError("its end is missing")
        return thrift.Reader(source.read(begin, length)).struct(), begin
    except (thrift.MalformedError, struct.error, ValueError) as error:
        raise DataLossError(f"{source.name}: expected a Parquet file of ours: {error}") from error


def joined_footer(footers: Iterable[tuple[thrift.Struct, int]]) -> bytes:
    """The end of a file that has the row groups of several.

    Args:
        footers: at least one, each with by how many bytes its row groups have been moved.

    Raises:
        DataLossError: they have different columns.
    """
    first: thrift.Struct | None = None
    groups: list[thrift.Struct] = []
    rows = 0
    for footer, moved in footers:
        first = first or footer
        if footer[_SCHEMA] != first[_SCHEMA]:
            raise DataLossError("results: the pieces have different columns")
        rows += footer[_ROWS][1]
        groups += [_moved(group, moved) for group in footer[_GROUPS][1][1]]
    assert first is not None  # noqa: S101 - there is at least one
    whole = {**first, _ROWS: (thrift.I64, rows), _GROUPS: (thrift.LIST, (thrift.STRUCT, groups))}
    data = thrift.encode(whole)
    return data + TAIL.pack(len(data), MAGIC)


def _moved(group: thrift.Struct, by: int) -> thrift.Struct:
    found = {number: value for number, value in group.items() if number != _GROUP_ORDINAL}
    kind, columns = group[_GROUP_COLUMNS][1]
    found[_GROUP_COLUMNS] = thrift.LIST, (kind, [_moved_column(column, by) for column in columns])
    return _shifted(found, (_GROUP_OFFSET,), by)


def _moved_column(column: thrift.Struct, by: int) -> thrift.Struct:
    found = {number: value for number, value in column.items() if number not in _INDEXES}
    found[_COLUMN_METADATA] = thrift.STRUCT, _shifted(column[_COLUMN_METADATA][1], _PAGE_OFFSETS, by)
    return _shifted(found, (_COLUMN_OFFSET,), by)


def _shifted(fields: thrift.Struct, numbers: tuple[int, ...], by: int) -> thrift.Struct:
    """Add to some fields; 0 stands for none."""
    found = dict(fields)
    for number in numbers:
        if number in found and found[number][1]:
            found[number] = thrift.I64, found[number][1] + by
    return found
