from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from modelyard.datasets.npy import open_npy
from modelyard.datasets.npz import open_npz
from modelyard.errors import InvalidInputError
from tests.unit.datasets.written import source


def npy(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, values, allow_pickle=values.dtype.hasobject)
    return out.getvalue()


def npz(save: Any = np.savez, **arrays: Any) -> bytes:
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def test_its_one_column_bears_its_name() -> None:
    dataset = open_npy(source(npy(np.zeros((4, 2), "f2")), "dir/pixels.npy"))
    assert str(dataset.columns[0]) == "'pixels': FP16 [2]"


def test_text_of_a_fixed_width_is_bytes_and_another_byte_order_is_turned() -> None:
    assert open_npy(source(npy(np.array(["ä", "bc"])), "x.npy")).read(0, 2)["x"].tolist() == ["ä".encode(), b"bc"]
    assert open_npy(source(npy(np.array([b"a", b"bc"])), "x.npy")).read(0, 2)["x"].tolist() == [b"a", b"bc"]
    turned = open_npy(source(npy(np.array([1, 2], ">i4")), "x.npy")).read(0, 2)["x"]
    assert turned.dtype == np.int32
    assert turned.tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing_is_no_error(shape: tuple[int, ...]) -> None:
    dataset = open_npy(source(npy(np.zeros(shape)), "x.npy"))
    assert dataset.read(0, shape[0])["x"].shape == shape


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"hello", "expected an npy file"),
        (b"", "expected an npy file"),
        (npy(np.zeros((3, 2)))[:-1], "expected 176 bytes, got 175$"),
        (npy(np.zeros((3, 2)))[:20], "expected an npy file"),
        (npy(np.float32(3)), "got a scalar"),
        (npy(np.zeros((3, 2), order="F")), "got Fortran order"),
        (npy(np.array([{}])), "numpy type object has no datatype"),
        (npy(np.zeros(3, "c8")), "complex64"),
        (npy(np.zeros(3, "M8[s]")), "datetime64"),
        (npy(np.zeros(3, [("a", "f4")])), "no datatype"),
    ],
)
def test_what_is_no_array_of_rows_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        open_npy(source(data, "x.npy"))


def test_arrays_of_an_archive_have_the_same_rows() -> None:
    with pytest.raises(InvalidInputError, match="'a' has 2, 'b' has 3"):
        open_npz(source(npz(a=np.zeros(2), b=np.zeros(3)), "x.npz"))


@pytest.mark.parametrize("data", [b"PK\3\4 nothing", npz(a=np.zeros(9))[:-30], npz()])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="expected an npz archive"):
        open_npz(source(data, "x.npz"))


def test_a_corrupt_member_is_told_when_it_is_read() -> None:
    data = bytearray(npz(np.savez_compressed, a=np.random.default_rng(1).normal(size=100_000)))
    data[600_000:600_100] = bytes(100)
    dataset = open_npz(source(bytes(data), "x.npz"))
    with pytest.raises(InvalidInputError, match=r"x\.npz/a\.npy: the archive is corrupt"):
        dataset.read(0, dataset.rows)
