"""The types of fields in preprocessing.json, with their bounds."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError

Array = npt.NDArray[Any]
MAX_VALUES = 1 << 16
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""Of a tensor."""
Names = Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_VALUES)]
Values = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=MAX_VALUES)]


def matrix(values: Array) -> Array:
    """Return FP32 [n, k] of numbers [n, ...], of none, too."""
    rows = np.atleast_1d(values)
    return rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(np.float32, copy=False)


def check_affine(place: str, offset: tuple[float, ...], divisor: tuple[float, ...]) -> None:
    """Raise InvalidInputError unless there are as many of both, all finite, as FP32 too, and no divisor of 0."""
    with np.errstate(over="ignore"):
        values = np.asarray((*offset, *divisor), np.float32)
        zero = not np.all(np.asarray(divisor, np.float32))
    if len(offset) != len(divisor) or zero or not np.all(np.isfinite(values)):
        raise InvalidInputError(f"{place}: expected as many offsets as divisors, all finite, and no divisor of 0")
