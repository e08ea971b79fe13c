"""What one shard gave, as files of its own: a Parquet file, or for each output the raw rows of an npy file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.catalogue import TensorSpec
from modelyard.datasets.arrays import arrow_type, to_arrow
from modelyard.datasets.columns import Array, Column
from modelyard.datasets.conversion import widened
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES

ROW_GROUP_BYTES = 32 << 20
"""A row group is ended when it holds about so many bytes: they are in memory until then."""


@dataclass(frozen=True)
class Piece:
    """What was written: as JSON it can be kept until all pieces are joined.

    Attributes:
        rows: how many.
        size_bytes: of the file.
        shape: of one row of an npy piece; () for Parquet.
    """

    rows: int
    size_bytes: int
    shape: tuple[int, ...] = ()


class PieceWriter(Protocol):
    """Takes a shard's rows in order."""

    def write(self, columns: Mapping[str, Array]) -> None:
        """Add rows of all columns.

        Raises:
            InvalidInputError: a column is missing, or not what was announced.
        """

    def finish(self) -> Piece:
        """Write what is left; the file is complete then, and still open."""


def result_columns(outputs: Sequence[TensorSpec], key: Column | None = None) -> tuple[Column, ...]:
    """The columns of a model's answers, the key first where there is one. BF16 is written as FP32, which has it all.

    Raises:
        InvalidInputError: the key is called as an output is, or an output has no dimension of rows.
    """
    for spec in outputs:
        if not spec.shape or (key and key.name == spec.name):
            raise InvalidInputError(f"expected outputs of rows, called otherwise than the key; got output {spec}")
    columns = [Column(s.name, "FP32" if s.datatype == "BF16" else s.datatype, s.shape[1:]) for s in outputs]
    return (key, *columns) if key else tuple(columns)


def check_npy(columns: Sequence[Column]) -> None:
    """Raise InvalidInputError unless rows of all columns are as npy has them: numbers, all of one shape."""
    for column in columns:
        if column.datatype == "BYTES" or -1 in column.shape:
            raise InvalidInputError(
                f"results: column {column}: npy has numbers only, and rows of one shape; ask for Parquet"
            )


def checked(column: Column, columns: Mapping[str, Array]) -> Array:
    """The values of a column as they are written.

    Raises:
        InvalidInputError: they are missing, or of another datatype or shape.
    """
    if column.name not in columns:
        raise InvalidInputError(f"results: expected column {column.name!r}, got {sorted(columns)}")
    values = columns[column.name]
    dtype = DATATYPES[column.datatype].dtype
    if column.datatype == "FP32" and values.dtype == np.uint16:
        values = widened(values)
    shape = values.shape[1:]
    fits = len(shape) == len(column.shape) and all(
        wanted in {-1, size} for size, wanted in zip(shape, column.shape, strict=True)
    )
    if not fits or not values.ndim or (values.dtype.newbyteorder("<") != dtype and column.datatype != "BYTES"):
        raise InvalidInputError(f"results: expected column {column}, got {values.dtype} {list(values.shape)}")
    return values.astype(dtype, copy=False)


class ParquetPiece:
    """A Parquet file of a shard's rows: dimensions are lists, of fixed size where the model fixes it."""

    def __init__(self, columns: Sequence[Column], out: IO[bytes]) -> None:
        """Write to a file that is empty."""
        self._columns = tuple(columns)
        self._out = out
        fields = [pa.field(c.name, _type(c), nullable=False) for c in columns]
        self._schema = pa.schema(fields)
        # No page index: it would hold offsets of its own, which joining could not correct.
        # Text may be the same again and again, numbers hardly ever are.
        text = [column.name for column in columns if column.datatype == "BYTES"]
        file = pa.PythonFile(out, mode="w")
        self._writer = pq.ParquetWriter(file, self._schema, write_page_index=False, use_dictionary=text or False)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, columns: Mapping[str, Array]) -> None:
        """As PieceWriter says."""
        arrays = [to_arrow(checked(c, columns), c.datatype, _fixed(c.shape)).cast(_type(c)) for c in self._columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if sum(waiting.nbytes for waiting in self._waiting) >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting = []
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)

    def finish(self) -> Piece:
        """As PieceWriter says."""
        self._flush()
        self._writer.close()
        return Piece(self._rows, self._out.tell())


def _type(column: Column) -> pa.DataType:
    return arrow_type(column.datatype, _fixed(column.shape), text=column.text)


def _fixed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A dimension of nothing is written as a list of any size: Parquet has no lists that are always empty."""
    return tuple(size or -1 for size in shape)


class NpyPiece:
    """The raw rows of one output; all of one shape, for there is one for all of the file."""

    def __init__(self, column: Column, out: IO[bytes]) -> None:
        """Write to a file that is empty.

        Raises:
            InvalidInputError: the column is of BYTES, for which npy has no rows of one length.
        """
        if column.datatype == "BYTES":
            raise InvalidInputError(f"results: column {column.name!r} is of BYTES: expected Parquet, got npy")
        self._column = column
        self._out = out
        self._shape = column.shape
        self._rows = 0

    def write(self, columns: Mapping[str, Array]) -> None:
        """As PieceWriter says."""
        values = checked(self._column, columns)
        if self._rows and len(values) and values.shape[1:] != self._shape:
            raise InvalidInputError(
                f"results: column {self._column.name!r}: expected rows of {list(self._shape)} as before, got "
                f"{list(values.shape[1:])}; npy has rows of one shape, Parquet of any"
            )
        self._shape = values.shape[1:] if len(values) else self._shape
        self._rows += len(values)
        self._out.write(np.ascontiguousarray(values).data)

    def finish(self) -> Piece:
        """As PieceWriter says."""
        return Piece(self._rows, self._out.tell(), self._shape)
