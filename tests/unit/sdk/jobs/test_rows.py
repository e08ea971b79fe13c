from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

from modelyard.errors import InvalidInputError
from modelyard.sdk.jobs.rows import arrays_of, npz, size_bytes


def loaded(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data)) as archive:
        return dict(archive)


def test_numbers_and_text_come_back_as_they_were() -> None:
    rows: dict[str, Any] = {
        "x": [[1.5, 2], [3, 4]],
        "file": np.array([True, False]),
        "text": np.array(["ä", "longer"], object),
        "bytes": np.array([b"", b"a\0b"], object),
        "a/b": np.arange(6, dtype=np.int8).reshape(3, 2).T,
    }
    found = loaded(npz(arrays_of(rows)))
    np.testing.assert_array_equal(found["x"], np.array([[1.5, 2], [3, 4]]))
    assert found["file"].tolist() == [True, False]
    assert found["text"].tolist() == ["ä".encode(), b"longer"]
    assert found["bytes"].tolist() == [b"", b"a\0b"]
    assert found["a/b"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert found["a/b"].flags.c_contiguous


def test_no_rows_are_rows() -> None:
    found = loaded(npz(arrays_of({"x": np.empty((0, 3), np.float32), "text": np.empty(0, object)})))
    assert (found["x"].shape, found["text"].shape) == ((0, 3), (0,))


def test_the_same_rows_are_the_same_bytes_and_no_larger_than_told() -> None:
    arrays = arrays_of({"x": np.arange(1000.0), "y" * 300: np.arange(1000)})
    assert npz(arrays) == npz(arrays)
    with zipfile.ZipFile(io.BytesIO(npz(arrays))) as archive:
        assert {member.date_time[0] for member in archive.infolist()} == {1980}
    assert len(npz(arrays)) <= size_bytes(arrays) < len(npz(arrays)) + 4096


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "expected inputs with the same number of rows; there is none"),
        ({"x": [1, 2], "y": [1]}, "'x' has 2, 'y' has 1"),
        ({"x": 1.0}, "input 'x': expected an array of rows, got a scalar"),
        ({"x": np.array(["a", None, 7], object)}, "input 'x': expected str or bytes, got NoneType, int"),
        ({"x": np.array([b"a\0"], object)}, "input 'x': expected bytes that do not end in zeros"),
        ({"x": np.array([1 + 2j])}, "numpy type complex128 has no datatype"),
    ],
)
def test_what_are_no_rows_is_named(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        arrays_of(rows)
    assert message in raised.value.message
