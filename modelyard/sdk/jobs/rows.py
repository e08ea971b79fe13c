"""Rows at hand as an npz archive: a member for each input."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import datatype_of
from modelyard.results import Array

HEADER_BYTES = 1024
"""More than npy and zip add to an array."""


def arrays_of(rows: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
    """The rows of every input as an array that can be written: text as bytes of one length, BF16 as FP32.

    Raises:
        InvalidInputError: there is no input, they differ in their numbers of rows, or one holds what has no datatype
            in the Open Inference Protocol.
    """
    arrays = {name: _writable(name, np.asarray(values)) for name, values in rows.items()}
    counts = {name: len(array) for name, array in arrays.items()}
    if not arrays or len(set(counts.values())) > 1:
        told = ", ".join(f"{name!r} has {count}" for name, count in counts.items()) or "there is none"
        raise InvalidInputError(f"rows: expected inputs with the same number of rows; {told:.1000}")
    return arrays


def _writable(name: str, values: Array) -> Array:
    if not values.ndim:
        raise InvalidInputError(f"rows: input {name!r}: expected an array of rows, got a scalar")
    datatype = datatype_of(values)
    if datatype == "BF16":
        return values.astype(np.float32)
    return np.ascontiguousarray(_text(name, values) if datatype == "BYTES" else values)


def _text(name: str, values: Array) -> Array:
    """Text, or objects that are text, as npy stores it."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values.reshape(-1).tolist()]
    if wrong := {type(value).__name__ for value in encoded} - {"bytes"}:
        raise InvalidInputError(f"rows: input {name!r}: expected str or bytes, got {', '.join(sorted(wrong))}")
    if any(value.endswith(b"\0") for value in encoded):
        raise InvalidInputError(f"rows: input {name!r}: expected bytes that do not end in zeros, which npz cuts off")
    return np.array(encoded, dtype=np.bytes_).reshape(values.shape)


def size_bytes(arrays: Mapping[str, Array]) -> int:
    """What their archive has at most."""
    return sum(array.nbytes + HEADER_BYTES + 2 * len(name.encode()) for name, array in arrays.items())


def write_npz(out: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write an archive; of the same arrays it has the same bytes, whenever it is written."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """The same in memory."""
    out = io.BytesIO()
    write_npz(out, arrays)
    return out.getvalue()
