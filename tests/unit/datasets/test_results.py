"""Pieces and what is made of them."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.catalogue import TensorSpec
from modelyard.datasets import pieces as written_pieces
from modelyard.datasets import thrift
from modelyard.datasets.assembly import join_npy, join_parquet
from modelyard.datasets.columns import Array, Column
from modelyard.datasets.conversion import convert
from modelyard.datasets.footer import read_footer
from modelyard.datasets.parquet import ParquetDataset
from modelyard.datasets.pieces import NpyPiece, ParquetPiece, Piece, result_columns
from modelyard.datasets.source import Source
from modelyard.errors import DataLossError, InvalidInputError
from modelyard.oip.datatypes import DATATYPES
from tests.unit.datasets.written import source, text

NUMBERS = [name for name in DATATYPES if name not in {"BYTES", "BF16"}]


def parquet_piece(columns: tuple[Column, ...], *parts: dict[str, Array]) -> tuple[Piece, Source]:
    out = io.BytesIO()
    writer = ParquetPiece(columns, out)
    for part in parts:
        writer.write(part)
    return writer.finish(), source(out.getvalue(), "piece")


def npy_piece(column: Column, *parts: Array) -> tuple[Piece, Source]:
    out = io.BytesIO()
    writer = NpyPiece(column, out)
    for part in parts:
        writer.write({column.name: part})
    return writer.finish(), source(out.getvalue(), "piece")


def whole(file: Source) -> bytes:
    return file.read(0, file.size_bytes)


def numbers(datatype: str, *shape: int) -> Array:
    values = np.random.default_rng(3).integers(0, 100, shape)
    return (values % 2 if datatype == "BOOL" else values).astype(DATATYPES[datatype].dtype)


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0)])
def test_every_datatype_comes_back_from_parquet(datatype: str, shape: tuple[int, ...]) -> None:
    columns = result_columns([TensorSpec("y", datatype, (-1, *shape))])
    values = numbers(datatype, 5, *shape)
    _, file = parquet_piece(columns, {"y": values[:2]}, {"y": values[2:]})
    found = ParquetDataset(join_parquet([file, file], "y.parquet")).read(0, 10)["y"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, np.concatenate([values, values]))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_comes_back_from_npy(datatype: str) -> None:
    (column,) = result_columns([TensorSpec("y", datatype, (-1, -1, 3))])
    values = numbers(datatype, 5, 2, 3)
    file = join_npy(
        column, [npy_piece(column, values[:2], values[2:4]), npy_piece(column), npy_piece(column, values[4:])], "y"
    )
    found = np.load(io.BytesIO(whole(file)), allow_pickle=False)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_bytes_bfloat16_keys_and_sizes_that_differ_go_into_parquet() -> None:
    outputs = [
        TensorSpec("label", "BYTES", (-1,)),
        TensorSpec("h", "BF16", (-1, 2)),
        TensorSpec("boxes", "FP32", (-1, -1, 4)),
    ]
    columns = result_columns(outputs, Column("id", "INT64"))
    bits, _ = convert(np.array([[1.5, -2.0], [3.0, 4.0]], np.float32), "BF16", rounding=False)
    parts = [
        {"id": np.array([7 + n]), "label": text([f"\0{n}"]), "h": bits[n : n + 1], "boxes": numbers("FP32", 1, n, 4)}
        for n in range(2)
    ]
    file = join_parquet([parquet_piece(columns, part)[1] for part in parts], "r.parquet")
    table = pq.read_table(pa.BufferReader(whole(file)))
    assert table.column_names == ["id", "label", "h", "boxes"]
    assert table.column("id").to_pylist() == [7, 8]
    assert table.column("label").to_pylist() == [b"\x000", b"\x001"]
    assert table.column("h").to_pylist() == [[1.5, -2.0], [3.0, 4.0]]
    assert pa.types.is_fixed_size_list(table.schema.field("h").type)
    assert [len(boxes) for boxes in table.column("boxes").to_pylist()] == [0, 1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.lists(st.integers(0, 10**6), max_size=4))
def test_any_ranges_of_what_was_joined_are_its_bytes(sizes: list[int], cuts: list[int]) -> None:
    column = Column("y", "INT32", (2,))
    values = numbers("INT32", sum(sizes), 2)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    npy = join_npy(column, [npy_piece(column, part) for part in parts], "y.npy")
    parquet = join_parquet([parquet_piece((column,), {"y": part})[1] for part in parts], "y.parquet")
    for file in (npy, parquet):
        ends = sorted({0, file.size_bytes, *(cut % (file.size_bytes + 1) for cut in cuts)})
        assert b"".join(file.read(a, b - a) for a, b in itertools.pairwise(ends)) == whole(file)
    np.testing.assert_array_equal(np.load(io.BytesIO(whole(npy))), values)
    found = pq.read_table(pa.BufferReader(whole(parquet))).column("y").to_pylist()
    assert found == values.tolist()


def test_row_groups_end_when_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written_pieces, "ROW_GROUP_BYTES", 100)
    column = Column("y", "INT64")
    piece, file = parquet_piece((column,), *({"y": np.arange(5) + n} for n in range(0, 50, 5)))
    found = pq.ParquetFile(pa.BufferReader(whole(file)))
    assert (piece.rows, piece.size_bytes) == (50, file.size_bytes)
    assert found.num_row_groups == 4
    many = join_parquet([file] * 5, "y")
    joined = pq.ParquetFile(pa.BufferReader(whole(many)))
    assert (joined.num_row_groups, joined.metadata.num_rows) == (20, 250)
    assert [joined.read_row_group(n).num_rows for n in (0, 3, 19)] == [15, 5, 5]
    assert joined.metadata.row_group(19).column(0).statistics.max == 49


def test_statistics_compression_and_text_survive_joining() -> None:
    columns = (Column("k", "BYTES"), Column("v", "FP64", (3,)))
    part = {"k": text(["same"] * 1000), "v": numbers("FP64", 1000, 3)}
    file = parquet_piece(columns, part)[1]
    joined = whole(join_parquet([file] * 3, "r"))
    once, thrice = pq.read_table(pa.BufferReader(whole(file))), pq.read_table(pa.BufferReader(joined))
    assert thrice.equals(pa.concat_tables([once] * 3))
    assert thrice.schema.equals(once.schema, check_metadata=True)


@pytest.mark.parametrize(
    ("given_columns", "message"),
    [
        ({}, r"expected column 'y', got \[\]"),
        ({"y": np.zeros((2, 3))}, r"expected column 'y': FP32 \[3\], got float64 \[2, 3\]"),
        ({"y": np.zeros((2, 4), np.float32)}, r"got float32 \[2, 4\]"),
        ({"y": np.zeros(2, np.float32)}, r"got float32 \[2\]"),
    ],
)
def test_results_that_were_not_announced_are_refused(given_columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parquet_piece((Column("y", "FP32", (3,)),), given_columns)


def test_npy_has_no_text_and_rows_of_one_shape() -> None:
    with pytest.raises(InvalidInputError, match="'y' is of BYTES: expected Parquet, got npy"):
        npy_piece(Column("y", "BYTES"))
    column = Column("y", "FP32", (-1,))
    with pytest.raises(InvalidInputError, match=r"expected rows of \[2\] as before, got \[3\]"):
        npy_piece(column, numbers("FP32", 1, 2), numbers("FP32", 1, 3))
    with pytest.raises(InvalidInputError, match=r"rows of \[2\] and of \[3\]"):
        join_npy(column, [npy_piece(column, numbers("FP32", 1, size)) for size in (2, 3)], "y")


def test_no_rows_are_a_file_of_none() -> None:
    column = Column("y", "FP32", (-1, 4))
    assert np.load(io.BytesIO(whole(join_npy(column, [], "y")))).shape == (0, 0, 4)
    table = pq.read_table(pa.BufferReader(whole(join_parquet([parquet_piece((column,))[1]], "y"))))
    assert (table.num_rows, table.column_names) == (0, ["y"])


def test_keys_and_outputs_have_names_of_their_own() -> None:
    with pytest.raises(InvalidInputError, match="called otherwise than the key"):
        result_columns([TensorSpec("y", "FP32", (-1,))], Column("y", "INT64"))
    with pytest.raises(InvalidInputError, match="expected outputs of rows"):
        result_columns([TensorSpec("y", "FP32", ())])


def test_pieces_that_are_damaged_or_of_other_columns_are_data_loss() -> None:
    column = Column("y", "INT64")
    piece, file = parquet_piece((column,), {"y": np.arange(9)})
    other = parquet_piece((Column("z", "INT64"),), {"z": np.arange(9)})[1]
    with pytest.raises(DataLossError, match="different columns"):
        join_parquet([file, other], "r")
    for data in (b"", b"PAR1", whole(file)[:-1], whole(file)[:-8] + b"\xff\xff\xff\x7fPAR1", whole(file)[-30:]):
        with pytest.raises(DataLossError, match="expected a Parquet file of ours"):
            join_parquet([file, source(data, "bad")], "r")
    with pytest.raises(DataLossError, match="expected 999 bytes, got"):
        join_npy(column, [(Piece(9, 999), file)], "r")
    with pytest.raises(InvalidInputError, match="at least one piece"):
        join_parquet([], "r")
    assert piece.rows == 9


def test_a_footer_is_written_as_it_was_read() -> None:
    file = parquet_piece(
        (Column("y", "INT64"), Column("v", "FP32", (2, 2))), {"y": np.arange(3), "v": numbers("FP32", 3, 2, 2)}
    )[1]
    footer, begin = read_footer(file)
    assert thrift.encode(footer) == whole(file)[begin:-8]


def test_structs_of_any_numbers_and_values_survive() -> None:
    struct: thrift.Struct = {
        1: (thrift.TRUE, True),
        2: (thrift.FALSE, False),
        20: (thrift.I32, 1),
        40: (thrift.I64, -(2**63)),
        41: (thrift.I16, -1),
        900: (thrift.BINARY, b"x" * 300),
        901: (thrift.DOUBLE, b"12345678"),
        902: (thrift.BYTE, b"\x05"),
        903: (thrift.LIST, (thrift.I32, list(range(20)))),
        904: (thrift.SET, (thrift.TRUE, [b"\1", b"\2"])),
        905: (thrift.STRUCT, {3: (thrift.LIST, (thrift.STRUCT, [{}, {1: (thrift.I32, 7)}]))}),
    }
    assert thrift.Reader(thrift.encode(struct)).struct() == struct
    with pytest.raises(thrift.MalformedError, match="too early"):
        thrift.Reader(thrift.encode(struct)[:-3]).struct()
    with pytest.raises(thrift.MalformedError, match="no value of type 11"):
        thrift.Reader(b"\x1b\0").struct()


def test_a_key_that_is_text_is_written_as_text() -> None:
    values = {"k": np.array([b"a", "é".encode()], object), "b": np.array([b"\xff", b""], object)}
    _, file = parquet_piece((Column("k", "BYTES", text=True), Column("b", "BYTES")), values)
    table = pq.read_table(io.BytesIO(whole(join_parquet([file, file], "y.parquet"))))
    assert (table["k"].type, table["b"].type) == (pa.large_string(), pa.large_binary())
    assert table["k"].to_pylist() == ["a", "é"] * 2
    assert table["b"].to_pylist() == [b"\xff", b""] * 2
