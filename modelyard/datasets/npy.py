"""npy: a header, then rows one after the other (NumPy's format, versions 1 to 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from tokenize import TokenError

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from modelyard.datasets.columns import Array, Batch, Column, whole_batch
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.source import Source, Window, buffered
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import datatype_of

MOST_HEADER_BYTES = 1 << 20
"""A header says by itself how long it is: up to 4 GiB, of which an archive could have any number of zeros."""


class NpyArray:
    """The array of one npy file.

    Attributes:
        rows: its first dimension.
        datatype: as the Open Inference Protocol names it; fixed-width text is BYTES.
        shape: of one row.
        text: its BYTES are UTF-8.
    """

    def __init__(self, source: Source) -> None:
        """Read the header.

        Raises:
            InvalidInputError: it is no npy file, or is cut off, or holds what cannot be read by rows.
        """
        self._source = source
        shape, self._dtype, self._offset = _header(source)
        self.datatype = _datatype(self._dtype, source.name)
        self.rows, self.shape = shape[0], shape[1:]
        self.text = self._dtype.kind == "U"
        self._row_bytes = self._dtype.itemsize * math.prod(self.shape)
        expected = self._offset + self.rows * self._row_bytes
        if source.size_bytes != expected:
            raise InvalidInputError(f"{source.name}: expected {expected} bytes, got {source.size_bytes}")

    def read(self, begin: int, end: int) -> Array:
        """Rows [begin, end) as an array that is not writable."""
        shape = (end - begin, *self.shape)
        data = self._source.read(self._offset + begin * self._row_bytes, (end - begin) * self._row_bytes)
        if not self._row_bytes:  # rows of nothing, or text that is empty everywhere
            values: Array = np.zeros(shape, self._dtype)
        else:
            values = np.frombuffer(data, self._dtype).reshape(shape)
        return (
            _as_bytes(values) if self.datatype == "BYTES" else values.astype(values.dtype.newbyteorder("="), copy=False)
        )


def _header(source: Source) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """The shape, the type and the offset of the first row."""
    beginning = Window(source, 0, min(source.size_bytes, MOST_HEADER_BYTES), source.name)
    with buffered(beginning) as file:
        try:
            version = npy_format.read_magic(file)
            # Version 3 differs from 2 in the text of field names only, which no dataset has.
            read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except (ValueError, EOFError, SyntaxError, TokenError) as error:
            raise InvalidInputError(f"{source.name}: expected an npy file: {error!s:.200}") from error
        offset = file.tell()
    if not shape:
        raise InvalidInputError(f"{source.name}: expected an array of rows, got a scalar")
    if fortran and sum(size != 1 for size in shape) > 1:
        raise InvalidInputError(
            f"{source.name}: expected rows in C order, got Fortran order: save ascontiguousarray(x)"
        )
    return shape, dtype, offset


def _datatype(dtype: np.dtype[np.generic], name: str) -> str:
    if dtype.hasobject or dtype.kind not in "biufSU":
        raise InvalidInputError(f"{name}: numpy type {dtype} has no datatype in the Open Inference Protocol")
    try:
        return datatype_of(np.empty(0, dtype))
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}: {error}") from error


def _as_bytes(values: Array) -> Array:
    """Text as objects that are bytes."""
    encoded: npt.NDArray[np.bytes_] = np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values
    return encoded.astype(object)


def stem(name: str) -> str:
    """The name of a file without directories and suffix: how the column of an npy file is called."""
    return PurePosixPath(name).stem


class NpyDataset(Dataset):
    """Arrays with as many rows each: of an npy file one, of an npz archive one a member."""

    def __init__(self, name: str, arrays: dict[str, NpyArray]) -> None:
        """Take arrays by the names of their columns.

        Raises:
            InvalidInputError: they differ in their numbers of rows.
        """
        rows = {column: array.rows for column, array in arrays.items()}
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{column!r} has {count}" for column, count in rows.items())
            raise InvalidInputError(f"{name}: expected arrays with the same number of rows; {told:.1000}")
        columns = [Column(name, array.datatype, array.shape, text=array.text) for name, array in arrays.items()]
        super().__init__(name, next(iter(rows.values()), 0), columns, {})
        self._arrays = arrays

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        return whole_batch(begin, end, {c.name: self._arrays[c.name].read(begin, end) for c in columns})


def open_npy(source: Source) -> NpyDataset:
    """An npy file; its one column is named after it.

    Raises:
        InvalidInputError: as NpyArray.
    """
    return NpyDataset(source.name, {stem(source.name): NpyArray(source)})
