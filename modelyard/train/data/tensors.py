"""Columns as torch's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modelyard.datasets.columns import Array, Column
from modelyard.datasets.conversion import widened
from modelyard.errors import InvalidInputError

Value = torch.Tensor | list[str]
"""A column of a batch: numbers [n, ...], or texts."""


def to_value(values: Array, column: Column | None = None) -> Value:
    """Return FP64 and BF16 as FP32, unsigned numbers of 16 bits and more as INT64, text as str, the rest as it is.

    Raises:
        InvalidInputError: text is not UTF-8, or a number of UINT64 is too large; the column is named.
    """
    if values.dtype == object:
        return [_text(value) for value in values.tolist()]
    if column is not None and column.datatype == "BF16":
        values = widened(values)
    elif values.dtype == np.float64:
        values = values.astype(np.float32)
    elif values.dtype.kind == "u" and values.dtype.itemsize > 1:
        values = _signed(values)
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def to_matrix(columns: list[Array]) -> torch.Tensor:
    """Scalar columns side by side: FP32 [n, k]."""
    return torch.from_numpy(np.stack([values.astype(np.float32) for values in columns], axis=1))


def to_target(values: Array) -> Value:
    """Return whole numbers as INT64, others as FP32, text as str."""
    kept: Any = values.astype(np.int64) if values.dtype.kind in "bi" else values
    return to_value(kept)


def _signed(values: Array) -> Array:
    if values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise InvalidInputError(f"expected numbers up to 2^63 - 1, got {values.max()}")
    return values.astype(np.int64)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"expected text in UTF-8: {error.reason}") from error
