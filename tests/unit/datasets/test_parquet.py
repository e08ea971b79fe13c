from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelyard.datasets.parquet import ParquetDataset
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import source


def written(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def opened(columns: dict[str, Any], **options: Any) -> ParquetDataset:
    return ParquetDataset(source(written(columns, **options), "x.parquet"))


def test_every_number_keeps_its_datatype() -> None:
    names = ["bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float16", "float32"]
    arrays = {name: np.array([0, 1], name) for name in [*names, "float64"]}
    dataset = opened(arrays)
    kinds = "BOOL INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 FP16 FP32 FP64"
    assert [column.datatype for column in dataset.columns] == kinds.split()
    for name, values in dataset.read(0, 2).items():
        assert values.dtype == arrays[name].dtype
        assert values.tolist() == arrays[name].tolist()


def test_rows_that_are_ragged_or_empty_fail_alone() -> None:
    dataset = opened({"v": [[1.0, 2.0], [3.0], None, [4.0, None], [5.0, 6.0]], "k": [1, 2, 3, 4, None]})
    batch = dataset.batch(0, 5)
    assert batch.rows.tolist() == [0]
    assert batch.columns["v"].tolist() == [[1.0, 2.0]]
    assert batch.columns["k"].tolist() == [1]
    assert batch.failed == {
        1: "column 'v': expected [2] values, got a list of 1",
        2: "column 'v': has no value",
        3: "column 'v': has no value",
        4: "column 'k': has no value",
    }
    assert dataset.batch(1, 5, ["v"]).columns["v"].tolist() == [[5.0, 6.0]]
    with pytest.raises(InvalidInputError, match=r"^row 1: column 'v'"):
        dataset.read(0, 5)


def test_what_has_no_datatype_can_not_be_asked_for() -> None:
    dataset = opened({"t": [datetime.datetime(2026, 1, 1)], "s": [{"a": 1}], "ok": [1]})
    assert [column.name for column in dataset.columns] == ["ok"]
    with pytest.raises(InvalidInputError, match=r"column 't' cannot be used: timestamp\[us\] has no datatype"):
        dataset.read(0, 1, ["t"])


def test_categories_and_lists_of_lists_are_read() -> None:
    dataset = opened({"c": pa.array(["a", "b", "a"]).dictionary_encode(), "m": [[[1, 2], [3, 4]]] * 3})
    assert [column.shape for column in dataset.columns] == [(), (2, 2)]
    found = dataset.read(1, 3)
    assert found["c"].tolist() == [b"b", b"a"]
    assert found["m"].shape == (2, 2, 2)


def test_no_rows_are_no_error() -> None:
    dataset = opened({"a": pa.array([], pa.float32()), "v": pa.array([], pa.list_(pa.int64()))})
    assert dataset.rows == 0
    found = dataset.read(0, 0)
    assert found["a"].shape == (0,)
    assert found["v"].shape == (0, 0)


def test_reading_on_does_not_decode_a_row_group_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened({"a": np.arange(5000)}, row_group_size=5000)
    begun: list[int] = []
    pieces = dataset._pieces

    def begin_anew(begin: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        begun.append(begin)
        return pieces(begin, names)

    monkeypatch.setattr(dataset, "_pieces", begin_anew)
    for begin in range(0, 5000, 100):
        assert dataset.read(begin, begin + 50)["a"][0] == begin
    assert begun == [0]
    assert dataset.read(7, 8)["a"].tolist() == [7]
    assert begun == [0, 7]


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -9])
def test_a_file_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInputError, match=r"x\.parquet: expected a Parquet file"):
        ParquetDataset(source(written({"a": np.arange(1000)})[:cut], "x.parquet"))


def test_corrupt_pages_are_told_when_they_are_read() -> None:
    data = bytearray(written({"a": np.arange(1000)}))
    data[4:60] = bytes(56)
    dataset = ParquetDataset(source(bytes(data), "x.parquet"))
    for _ in range(2):
        with pytest.raises(
            InvalidInputError, match=r"(?s)x\.parquet: expected a Parquet file: .* \(read for rows 10\.\.999\)"
        ):
            dataset.read(10, 1000)
