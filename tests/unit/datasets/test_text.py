"""CSV and JSONL."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard import codec
from modelyard.datasets import blocks
from modelyard.datasets.blocks import TextIndex
from modelyard.datasets.delimited import CsvDataset
from modelyard.datasets.jsonl import JsonlDataset
from modelyard.datasets.quoting import last_row_end
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import source


def csv(text: str | bytes) -> CsvDataset:
    return CsvDataset(source(text, "x.csv"))


def jsonl(text: str) -> JsonlDataset:
    return JsonlDataset(source(text, "x.jsonl"))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 16)


def test_an_index_that_was_kept_opens_the_file_without_a_pass() -> None:
    data = source("a,b\n" + "1,x\n" * 1000, "x.csv")
    index = codec.decode(TextIndex, codec.encode(CsvDataset(data).index))
    assert CsvDataset(data, index).index == CsvDataset(data).index
    assert CsvDataset(data, index).read(999, 1000)["b"].tolist() == [b"x"]
    with pytest.raises(InvalidInputError, match="as when it was indexed; got csv of 8"):
        CsvDataset(source("a,b\n1,x\n", "x.csv"), index)
    changed = source("a,b\n" + "y,x\n" * 1000, "x.csv")
    with pytest.raises(InvalidInputError, match="rows from 0 on are not what was indexed"):
        CsvDataset(changed, index).read(0, 1)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        (["1"] * 20 + ["2.5"], "FP64"),
        (["2.5"] + ["1"] * 20, "FP64"),
        (["1"] * 20, "INT64"),
        (["true", "False"] * 9, "BOOL"),
        (["nan", "1"], "FP64"),
        (["2026-01-01"] * 3, "BYTES"),
        (["true"] + ["7"] * 20, "BYTES"),
    ],
)
def test_a_column_of_csv_is_what_all_its_values_are(values: list[str], datatype: str) -> None:
    dataset = csv("a\n" + "\n".join(values))
    assert dataset.columns[0].datatype == datatype
    found = dataset.read(0, len(values))["a"]
    expected = [value.encode() for value in values] if datatype == "BYTES" else None
    assert len(found) == len(values)
    assert expected is None or found.tolist() == expected


@pytest.mark.usefixtures("small_blocks")
def test_a_column_of_text_knows_which_value_is_no_number() -> None:
    assert csv("a\n" + "12345\n" * 20 + "oops\n" + "1\n" * 20).columns[0].note == "row 20 has 'oops'"


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n" + "1,2\n" * 20 + "3\n", "row 20: expected 2 values, got 1"),
        ("a,b\n" + "1,2\n\n" * 20 + "3,4,5\n1,2\n", "row 20: expected 2 values, got 3"),
        ('a\n1\n"open\n2\n', "a quote after row .* is never closed"),
        ('a,b\n1,5" wide\n2,3\n', "byte 7: a quote within a value"),
        ("a,a\n1,2\n", "names each column"),
        ("a,b\r1,2\r", "end with a line feed"),
        (b"\xff\xfe,b\n1,2\n", "expected a first line of CSV"),
    ],
)
def test_what_is_no_csv_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^x\.csv: .*{message}"):
        csv(text)


def test_a_number_that_is_left_out_fails_its_row_and_text_is_empty() -> None:
    batch = csv("a,b\n1,x\n,y\n3,\n").batch(0, 3)
    assert batch.rows.tolist() == [0, 2]
    assert batch.columns["b"].tolist() == [b"x", b""]
    assert batch.failed == {1: "column 'a': has no value"}


@pytest.mark.parametrize("text", ["", "a,b", "a,b\n", "a,b\r\n\r\n\n"])
def test_no_rows_are_no_error(text: str) -> None:
    dataset = csv(text)
    assert dataset.rows == 0
    assert [len(values) for values in dataset.read(0, 0).values()] == [0] * len(dataset.columns)


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_values() -> None:
    dataset = csv(b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y")
    assert dataset.read(0, 2)["b"].tolist() == [b"x", b"y"]
    assert dataset.columns[0].name == "a"


def test_a_row_of_any_length_would_not_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_ROW_BYTES", 3 << 20)
    with pytest.raises(InvalidInputError, match="the row at byte 2 is longer than"):
        csv("a\n" + "1" * (5 << 20))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text('a",\n', max_size=4), min_size=2, max_size=2), max_size=8), st.integers(0, 60))
def test_rows_end_where_no_quotes_are_open(rows: list[list[str]], cut: int) -> None:
    lines = [",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows]
    ends = np.cumsum([0, *map(len, lines)])
    text = "".join(lines)[:cut]
    assert last_row_end(text.encode(), 0, "x.csv") == max(ends[ends <= len(text)])


def test_members_may_be_missing_and_come_later() -> None:
    dataset = jsonl('{"a": 1}\n\n{"a": 2, "b": [1, 2]}\n{"a": null, "b": [3, 4.5]}\n{"b": [1]}\n')
    batch = dataset.batch(0, 4)
    assert batch.rows.tolist() == [1]
    assert batch.columns["b"].tolist() == [[1.0, 2.0]]
    assert batch.failed == {
        0: "column 'b': has no value",
        2: "column 'a': has no value",
        3: "column 'a': has no value",
    }
    assert dataset.batch(3, 4, ["b"]).failed == {3: "column 'b': expected [2] values, got a list of 1"}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("second", "row"), [('"x"', 30), ("true", 30), ("[1]", 30), ('{"c": 1}', 30), ("18446744073709551616", 30)]
)
def test_a_member_whose_kind_changes_can_not_be_used(second: str, row: int) -> None:
    dataset = jsonl('{"a": 1, "b": 2}\n' * 30 + f'{{"a": {second}, "b": 3}}\n')
    with pytest.raises(InvalidInputError, match=rf"column 'a' cannot be used: row {row} has .* of another kind"):
        dataset.read(0, 1, ["a"])
    assert dataset.read(30, 31)["b"].tolist() == [3]


@pytest.mark.parametrize(
    ("text", "row"), [('{"a": 1}\n{"a": \n', 1), ('{"a": 1}\n[2]\n', 1), ("\n7", 0), ('{"a": NaN}', 0), ("[" * 9999, 0)]
)
def test_a_row_that_is_no_object_is_named(text: str, row: int) -> None:
    with pytest.raises(InvalidInputError, match=f"row {row}: expected a JSON object"):
        jsonl(text)


@pytest.mark.usefixtures("small_blocks")
def test_whole_numbers_and_fractions_make_one_column() -> None:
    dataset = jsonl('{"a": 1, "v": [1]}\n' * 30 + '{"a": 0.5, "v": [0.5]}\n')
    assert [str(column) for column in dataset.columns] == ["'a': FP64 []", "'v': FP64 [1]"]
    assert dataset.read(29, 31)["a"].tolist() == [1.0, 0.5]


def test_no_lines_are_no_error() -> None:
    assert jsonl("\n").rows == 0
    assert jsonl("").read(0, 0) == {}


def test_what_is_known_to_be_text() -> None:
    dataset = csv(b"a,b,c\n\xc3\xa9,\xff,1\n2,x,2\n")
    assert [(column.datatype, column.text) for column in dataset.columns] == [
        ("BYTES", True),
        ("BYTES", False),
        ("INT64", False),
    ]
    assert [column.text for column in jsonl('{"a": "x", "b": 1}\n').columns] == [True, False]
