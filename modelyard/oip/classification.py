"""Triton's classification extension: of an output, instead of its elements, the greatest ones as text.

Each is `score:index` or, where there are labels, `score:index:label`, the greatest first. The extension is described
in Triton's docs/protocol/extension_classification.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.errors import InvalidInputError

Array = npt.NDArray[Any]
_WITHOUT_ORDER = ("BOOL", "BYTES")


def classify(name: str, datatype: str, array: Array, count: int, *, batched: bool, labels: Sequence[str] = ()) -> Array:
    """Return the `count` greatest elements, as BYTES (dtype object): shape [rows, n] where batched, else [n].

    n is less than `count` where there are fewer elements. Of equal ones the first comes first; NaN comes last.

    Args:
        name: of the output, for messages.
        datatype: of the array, as the protocol names it; BF16 is held as uint16.
        array: any shape; all dimensions but that of the rows count as one.
        count: above 0.
        batched: whether the first dimension is that of the rows.
        labels: by index; where it ends there are none.

    Raises:
        InvalidInputError: BOOL and BYTES have no order.
    """
    if datatype in _WITHOUT_ORDER:
        raise InvalidInputError(f"output {name!r}: expected a number to classify, got {datatype}")
    scores = (array.astype("<u4") << 16).view("<f4") if datatype == "BF16" else array
    if not batched or not scores.ndim:
        return _classes(scores.reshape(-1), count, labels)
    rows = scores.reshape(len(scores), -1) if scores.size else scores.reshape(len(scores), 0)
    shape = (len(rows), min(count, rows.shape[1]))
    classes = np.empty(shape, object)
    for index, row in enumerate(rows):
        classes[index] = _classes(row, count, labels)
    return classes


def _classes(scores: Array, count: int, labels: Sequence[str]) -> Array:
    is_float = scores.dtype.kind == "f"
    keys = np.where(np.isnan(scores), -np.inf, scores) if is_float else scores
    order = len(keys) - 1 - np.argsort(keys[::-1], kind="stable")[::-1]  # descending, and of equal ones the first first
    greatest = order[:count].tolist()
    classes = np.empty(len(greatest), object)
    for position, index in enumerate(greatest):
        score = f"{scores[index]:f}" if is_float else str(scores[index])
        label = f":{labels[index]}" if index < len(labels) else ""
        classes[position] = f"{score}:{index}{label}".encode()
    return classes
