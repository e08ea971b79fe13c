"""From one datatype to another: row by row without loss, or rounded where that was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard.datasets.columns import Array
from modelyard.oip.datatypes import DATATYPES

FLOATS = ("FP16", "BF16", "FP32", "FP64")


def refusal(source: str, target: str, *, rounding: bool) -> str:
    """Why no values of a datatype are converted to another; empty: they may be.

    Whole numbers may become any number that has their value, which each row tells; but nearly no FP64 is an FP32.
    """
    if (source == "BYTES") is not (target == "BYTES"):
        return f"{source} is not converted to {target}"
    if source in FLOATS and target in FLOATS and not rounding and not _holds(source, target):
        return f"{source} does not fit into {target} without loss; ask for a cast"
    return ""


def _holds(source: str, target: str) -> bool:
    bits = {"FP16": (10, 5), "BF16": (7, 8), "FP32": (23, 8), "FP64": (52, 11)}
    return all(small <= great for small, great in zip(bits[source], bits[target], strict=True))


def convert(values: Array, target: str, *, rounding: bool) -> tuple[Array, Array]:
    """Return rows in another datatype, and which of them have kept their values, BOOL [rows].

    Args:
        values: [rows, ...].
        target: the datatype; BF16 are its bits as UINT16.
        rounding: to the nearest number that the target has, towards 0 where that is whole.
    """
    dtype = DATATYPES[target].dtype
    if target == "BYTES" or (values.dtype == dtype and target != "BF16"):
        return values, np.ones(len(values), bool)
    with np.errstate(all="ignore"):
        converted = _bfloat16(values.astype(np.float32)) if target == "BF16" else values.astype(dtype)
        numbers = widened(converted) if target == "BF16" else converted
        kept = _within(values, numbers.dtype)
        if not rounding:
            kept &= _within(numbers, values.dtype) & _equal(numbers.astype(values.dtype), values)
        elif numbers.dtype.kind == "f":
            kept &= np.isfinite(numbers) | ~_finite(values)
    return converted, np.asarray(kept.all(axis=tuple(range(1, kept.ndim))))


def _within(values: Array, dtype: np.dtype[Any]) -> Array:
    """Which values lie in the range of a whole-number type; for any other all do."""
    if dtype.kind not in "iu" or values.dtype.kind == "b":
        return np.ones(values.shape, bool)
    limits = np.iinfo(dtype)
    if values.dtype.kind == "f":
        # The upper limit itself may have no such float, the power of two above it has.
        wide = np.trunc(values.astype(np.float64))
        return (wide >= float(limits.min)) & (wide < float(limits.max + 1))
    own = np.iinfo(values.dtype)
    least, most = max(limits.min, own.min), min(limits.max, own.max)
    return (values >= least) & (values <= most)


def _finite(values: Array) -> Array:
    return np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)


def _equal(one: Array, other: Array) -> Array:
    same: Array = one == other
    return same | (np.isnan(one) & np.isnan(other)) if other.dtype.kind == "f" else same


def _bfloat16(values: Array) -> Array:
    """The bits of the nearest bfloat16, the even one of two; NaN stays NaN."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def widened(bits: Array) -> Array:
    """BF16, given as its bits, as FP32, which has all its values."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
