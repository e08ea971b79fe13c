from __future__ import annotations

import io
import struct
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


class Counting:
    """A source that counts what is read of it."""

    def __init__(self, data: bytes, name: str) -> None:
        self._source = source(data, name)
        self.name = name
        self.size_bytes = len(data)
        self.read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        self.read_bytes += length
        return self._source.read(offset, length)


def test_a_header_is_not_believed_to_be_gigabytes() -> None:
    endless = Counting(b"\x93NUMPY\2\0" + struct.pack("<I", 3 << 30) + bytes(8 << 20), "x.npy")
    with pytest.raises(InvalidInputError, match=r"x\.npy: expected an npy file: EOF: reading array header, expected"):
        open_npy(endless)
    assert endless.read_bytes <= 1 << 20


def test_a_header_that_is_no_python_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"x\.npy: expected an npy file"):
        open_npy(source(npy(np.zeros(3)).replace(b"{'descr'", b"{('desc'"), "x.npy"))


def test_an_archive_whose_names_are_no_text_is_refused() -> None:
    data = npz(zürich=np.zeros(3)).replace("zürich".encode(), b"z\xff\xffrich")
    with pytest.raises(InvalidInputError, match="expected an npz archive"):
        open_npz(source(data, "x.npz"))
