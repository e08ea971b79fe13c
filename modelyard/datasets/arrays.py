"""Between Arrow's arrays and numpy's: nested lists are dimensions, what has no value makes its row unreadable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelyard.datasets.columns import Array, Batch, Column
from modelyard.oip.datatypes import DATATYPES

_SCALARS: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "FP16": pa.float16(),
    "FP32": pa.float32(),
    "FP64": pa.float64(),
    "BYTES": pa.large_binary(),
    **{
        f"{kind}{bits}": pa.type_for_alias(f"{kind.lower()}{bits}")
        for kind in ("INT", "UINT")
        for bits in (8, 16, 32, 64)
    },
}
_NAMES = {scalar: name for name, scalar in _SCALARS.items()}


class MisfitError(Exception):
    """A row does not have the shape of its column, or lacks a value."""


def scalar_type(datatype: str) -> pa.DataType:
    """Arrow's type for a datatype; BYTES are large_binary."""
    return _SCALARS[datatype]


def arrow_type(datatype: str, shape: tuple[int, ...], *, text: bool = False) -> pa.DataType:
    """Arrow's type for rows of a shape: lists of fixed size, for -1 of any size; of text, large_string."""
    found = pa.large_string() if text else _SCALARS[datatype]
    for size in reversed(shape):
        found = pa.large_list(found) if size < 0 else pa.list_(found, size)
    return found


def is_list(kind: pa.DataType) -> bool:
    """Whether it is one more dimension."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether its values are BYTES."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests) or bool(pa.types.is_fixed_size_binary(kind))


def is_unicode(kind: pa.DataType) -> bool:
    """Whether its values are BYTES that are UTF-8."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def column_of(name: str, kind: pa.DataType) -> Column | None:
    """The column that an Arrow type makes, dimensions of any size -1; None: it has no datatype."""
    shape: list[int] = []
    while is_list(kind):
        shape.append(kind.list_size if pa.types.is_fixed_size_list(kind) else -1)
        kind = kind.value_type
    if pa.types.is_dictionary(kind) and not shape:
        kind = kind.value_type
    datatype = "BYTES" if is_text(kind) else _NAMES.get(kind)
    return Column(name, datatype, tuple(shape), text=is_unicode(kind)) if datatype else None


def row_shape(array: pa.Array, depth: int) -> tuple[int, ...] | None:
    """The shape of an array of one row; None if its lists differ in length, or lack a value."""
    shape: list[int] = []
    for _ in range(depth):
        lengths = pc.unique(pc.list_value_length(array)).to_pylist()
        if lengths == []:
            lengths = [0]  # lists within a list of none
        if len(lengths) != 1 or lengths[0] is None:
            return None
        shape.append(lengths[0])
        array = array.flatten()
    return None if array.null_count else tuple(shape)


def rows_of(array: pa.Array, column: Column) -> tuple[Array, dict[int, str]]:
    """Return the rows that have the column's shape as one array, and for the others, by place, why they have not."""
    try:
        return _dense(array, column), {}
    except MisfitError:
        parts, failed = [], {}
        for place in range(len(array)):
            try:
                parts.append(_dense(array.slice(place, 1), column))
            except MisfitError as error:
                failed[place] = f"column {column.name!r}: {error}"
        empty = _dense(array.slice(0, 0), column)
        return np.concatenate([empty, *parts]), failed


def _dense(array: pa.Array, column: Column) -> Array:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    shape = [len(array)]
    for size in column.shape:
        array = _flattened(array, size, column)
        shape.append(max(size, 0))
    if array.null_count:
        raise MisfitError("has no value")
    if column.datatype == "BYTES":
        values = np.empty(len(array), object)
        values[:] = array.cast(pa.large_binary()).to_pylist()
    else:
        values = array.to_numpy(zero_copy_only=False).astype(DATATYPES[column.datatype].dtype, copy=False)
    return values.reshape(shape)


def _flattened(array: pa.Array, size: int, column: Column) -> pa.Array:
    if array.null_count:
        raise MisfitError("has no value")
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten()
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    if (lengths != size).any():
        raise MisfitError(f"expected {list(column.shape)} values, got a list of {lengths[lengths != size][0]}")
    return array.flatten()


def batch_of(begin: int, arrays: Mapping[Column, pa.Array], rows: int) -> Batch:
    """The rows from `begin` on that are readable in all columns, and why the others are not."""
    failed: dict[int, str] = {}
    found: dict[str, tuple[Array, dict[int, str]]] = {}
    for column, array in arrays.items():
        found[column.name] = rows_of(array, column)
        failed.update(
            {begin + place: why for place, why in found[column.name][1].items() if begin + place not in failed}
        )
    keep = np.ones(rows, bool)
    keep[[row - begin for row in failed]] = False
    columns = {name: values[np.delete(keep, list(lost))] for name, (values, lost) in found.items()} if failed else None
    plain = {name: values for name, (values, _) in found.items()}
    return Batch(np.flatnonzero(keep) + begin, plain if columns is None else columns, failed)


def to_arrow(values: Array, datatype: str, shape: tuple[int, ...]) -> pa.Array:
    """Rows as Arrow keeps them, of `arrow_type(datatype, shape)`; the values' own shape fits."""
    if datatype == "BYTES":
        flat = pa.array(values.reshape(-1).tolist(), pa.large_binary())
    else:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1), _SCALARS[datatype])
    for axis in range(values.ndim - 1, 0, -1):
        flat = _listed(flat, values.shape, axis, fixed=shape[axis - 1] >= 0)
    return flat


def _listed(flat: pa.Array, sizes: tuple[int, ...], axis: int, *, fixed: bool) -> pa.Array:
    """Gather the values of one dimension."""
    size = sizes[axis]
    if fixed and size:
        return pa.FixedSizeListArray.from_arrays(flat, size)
    count = int(np.prod(sizes[:axis]))
    offsets = pa.array(np.arange(count + 1, dtype=np.int64) * size)
    listed = pa.LargeListArray.from_arrays(offsets, flat)
    return listed.cast(pa.list_(flat.type, size)) if fixed else listed
