"""CSV: values separated by commas, the first line names the columns (RFC 4180), UTF-8.

What a column holds is inferred from all its values: BOOL, INT64, FP64, else BYTES. A number that is left out makes its
row unreadable; text that is left out is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.csv as arrow_csv

from modelyard.datasets.arrays import is_text, is_unicode, scalar_type
from modelyard.datasets.blocks import BLOCK_BYTES, MOST_ROW_BYTES, TextIndex, whole_rows
from modelyard.datasets.columns import Column
from modelyard.datasets.quoting import first_row_end, is_open, last_row_end
from modelyard.datasets.source import Source
from modelyard.datasets.text import TextDataset
from modelyard.errors import InvalidInputError

KIND = "csv"


class CsvDataset(TextDataset):
    """A CSV file."""

    def __init__(self, source: Source, index: TextIndex | None = None) -> None:
        """Index the file in one pass, unless that is given.

        Raises:
            InvalidInputError: it is no such text, a row has too many or too few values (it is named), or the index is
                of another file.
        """
        self._names, header_bytes = _header(source)
        if index is None:
            index = _Pass(source, self._names).run(header_bytes)
        index.check(source, KIND)
        super().__init__(source, index)

    def _parse(self, text: bytes, columns: Sequence[Column]) -> Sequence[pa.Array]:
        types = {column.name: scalar_type(column.datatype) for column in columns}
        table = parse(text, self._names, types)
        return [table.column(column.name).combine_chunks() for column in columns]


def parse(text: bytes, names: Sequence[str], types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Whole rows as a table; of some columns with their types, else of all as they look.

    Raises:
        pyarrow.ArrowInvalid: they are no such rows.
    """
    convert = {"column_types": types, "include_columns": list(types)} if types else {}
    return arrow_csv.read_csv(
        pa.BufferReader(text),
        read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(text) + 1),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(null_values=[""], strings_can_be_null=False, **convert),
    )


def _header(source: Source) -> tuple[list[str], int]:
    """The names of the columns, and the bytes that they take."""
    size_bytes = min(source.size_bytes, BLOCK_BYTES)
    while True:
        text = source.read(0, size_bytes)
        end = first_row_end(text, 0, source.name) or (size_bytes if size_bytes == source.size_bytes else 0)
        if end or size_bytes in {source.size_bytes, MOST_ROW_BYTES}:
            break
        size_bytes = min(source.size_bytes, size_bytes * 8, MOST_ROW_BYTES)
    try:
        line = text[:end].decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader(io.StringIO(line, newline=""), strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            f"{source.name}: expected a first line of CSV that names the columns: {error}"
        ) from error
    if "\r" in line or len(set(names)) < len(names) or "" in names or "\0" in line:
        raise InvalidInputError(
            f"{source.name}: expected a first line that names each column, and lines that end with a line feed; "
            f"got {line!r:.200}"
        )
    return names, end


class _Pass:
    """One pass over a file: blocks, and the columns' types so far."""

    def __init__(self, source: Source, names: list[str]) -> None:
        self._source = source
        self._names = names
        self._types: dict[str, pa.DataType] = dict.fromkeys(names, pa.null())
        self._notes: dict[str, str] = {}
        self._binary: set[str] = set()

    def run(self, offset: int) -> TextIndex:
        """The index of the rows from an offset on."""
        offsets, begins = [offset], [0]
        for text in self._blocks(offset):
            offsets.append(offsets[-1] + len(text))
            begins.append(begins[-1] + self._look(text, begins[-1]))
        return TextIndex(KIND, self._source.size_bytes, self._columns(), {}, tuple(offsets), tuple(begins))

    def _blocks(self, offset: int) -> Iterator[bytes]:
        boundary = partial(last_row_end, name=self._source.name)
        return (text for _, text in whole_rows(self._source, offset, boundary))

    def _look(self, text: bytes, begin: int) -> int:
        """Take note of what a block holds; return its rows."""
        if is_open(text):
            raise InvalidInputError(f"{self._source.name}: a quote after row {begin} is never closed")
        if not text.strip():
            return 0
        try:
            table = parse(text, self._names)
        except (pa.ArrowException, ValueError) as error:
            raise InvalidInputError(f"{self._source.name}: {self._ragged(text, begin) or error}") from error
        for name in self._names:
            self._merge(name, table.column(name), text, begin)
        return int(table.num_rows)

    def _ragged(self, text: bytes, begin: int) -> str:
        """Name the first row of another length."""
        lines = csv.reader(io.StringIO(text.decode(errors="replace"), newline=""))
        rows = enumerate((values for values in lines if values), begin)
        wrong = ((row, values) for row, values in rows if len(values) != len(self._names))
        row, values = next(wrong, (0, []))
        return f"row {row}: expected {len(self._names)} values, got {len(values)}" if values else ""

    def _merge(self, name: str, values: pa.ChunkedArray, text: bytes, begin: int) -> None:
        found = _number_or_text(values.type)
        if is_text(values.type) and not is_unicode(values.type):
            self._binary.add(name)
        merged = _wider(self._types[name], found)
        if merged == scalar_type("BYTES") and name not in self._notes:
            self._notes[name] = _no_number(parse(text, self._names, {name: merged}).column(name), begin)
        self._types[name] = merged

    def _columns(self) -> tuple[Column, ...]:
        kinds = {pa.int64(): "INT64", pa.float64(): "FP64", pa.bool_(): "BOOL"}
        found = ((name, kinds.get(kind, "BYTES")) for name, kind in self._types.items())
        return tuple(
            Column(name, kind, (), True, self._notes.get(name, ""), kind == "BYTES" and name not in self._binary)
            for name, kind in found
        )


def _number_or_text(kind: pa.DataType) -> pa.DataType:
    plain = (pa.null(), pa.int64(), pa.float64(), pa.bool_())
    return kind if kind in plain and not is_text(kind) else scalar_type("BYTES")


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that has the values of both."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = {one, other} == {pa.int64(), pa.float64()}
    return pa.float64() if numbers else scalar_type("BYTES")


def _no_number(values: pa.ChunkedArray, begin: int) -> str:
    """Which value of a block is the first that is no number."""
    for row, value in enumerate(values.to_pylist(), begin):
        try:
            float(value)
        except ValueError:
            return f"row {row} has {value.decode(errors='replace')!r:.80}"
    return f"from row {begin} on it has numbers, before it has none"
