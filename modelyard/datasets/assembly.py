"""The pieces of all shards as one file, which is read by range and never held as a whole.

Of pieces in the order of their shards it has the rows in the order of the input. What a range has follows from the
pieces alone, so a download that broke off goes on where it was, from any server.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.lib import format as npy_format

from modelyard.datasets.columns import Column
from modelyard.datasets.footer import MAGIC, joined_footer, read_footer
from modelyard.datasets.pieces import Piece
from modelyard.datasets.source import Source, Window
from modelyard.errors import DataLossError, InvalidInputError
from modelyard.oip.datatypes import DATATYPES


class MemorySource:
    """Bytes at hand, as a source."""

    def __init__(self, data: bytes, name: str = "") -> None:
        self._data = data
        self.name = name
        self.size_bytes = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        return self._data[offset : offset + length]


class Joined:
    """Sources one after the other, as a source."""

    def __init__(self, parts: Sequence[Source], name: str) -> None:
        self._parts = [part for part in parts if part.size_bytes]
        self._ends = list(accumulate(part.size_bytes for part in self._parts))
        self.name = name
        self.size_bytes = self._ends[-1] if self._ends else 0

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        end = min(offset + length, self.size_bytes)
        found: list[bytes] = []
        while offset < end:
            part = bisect_right(self._ends, offset)
            begin = self._ends[part] - self._parts[part].size_bytes
            data = self._parts[part].read(offset - begin, min(end, self._ends[part]) - offset)
            found.append(data)
            offset += len(data)
        return found[0] if len(found) == 1 else b"".join(found)


def join_parquet(pieces: Sequence[Source], name: str) -> Source:
    """One Parquet file with the row groups of all pieces; only their footers are read for it.

    Raises:
        InvalidInputError: there is no piece.
        DataLossError: one is damaged, or they have different columns.
    """
    if not pieces:
        raise InvalidInputError(f"{name}: expected at least one piece")
    bodies: list[Source] = [MemorySource(MAGIC)]
    footers = []
    moved = 0
    for piece in pieces:
        footer, end = read_footer(piece)
        footers.append((footer, moved))
        bodies.append(Window(piece, len(MAGIC), end - len(MAGIC), piece.name))
        moved += end - len(MAGIC)
    return Joined([*bodies, MemorySource(joined_footer(footers))], name)


def join_npy(column: Column, pieces: Sequence[tuple[Piece, Source]], name: str) -> Source:
    """One npy file of one output.

    Raises:
        InvalidInputError: the pieces' rows differ in shape, which Parquet could have.
        DataLossError: a piece is not as long as it was.
    """
    shapes = {piece.shape for piece, _ in pieces if piece.rows}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise InvalidInputError(f"{name}: rows of {list(one)} and of {list(other)}: npy has rows of one shape")
    for piece, source in pieces:
        if source.size_bytes != piece.size_bytes:
            raise DataLossError(f"{source.name}: expected {piece.size_bytes} bytes, got {source.size_bytes}")
    shape = next(iter(shapes), tuple(max(size, 0) for size in column.shape))
    rows = sum(piece.rows for piece, _ in pieces)
    return Joined([MemorySource(_header(column, (rows, *shape))), *(source for _, source in pieces)], name)


def _header(column: Column, shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    dtype: np.dtype[np.generic] = DATATYPES[column.datatype].dtype
    facts = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(out, facts)
    return out.getvalue()
