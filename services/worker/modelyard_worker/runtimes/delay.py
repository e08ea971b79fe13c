"""For tests and benchmarks only: a model that occupies the device for a given time and burns no CPU.

An ONNX artifact says how in its metadata_props; where a runner was not started for it they mean nothing. A runner may
be started to take a multiple of these times, as one on a slower machine would:

modelyard.delay_ms           milliseconds for each run, whatever its rows
modelyard.delay_ms_per_row   milliseconds for each row of the first input
modelyard.abort              "1": the process aborts when an input has a NaN
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from modelyard.catalogue import Signature, TensorSpec
from modelyard.errors import InvalidInputError
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array

DELAY_MS = "modelyard.delay_ms"
DELAY_MS_PER_ROW = "modelyard.delay_ms_per_row"
ABORT = "modelyard.abort"

_device = threading.Lock()
"""The one device of a process: all copies of all its models share it."""


def is_delayed(metadata: Mapping[str, str]) -> bool:
    """Whether a model's metadata asks for this runtime."""
    return not {DELAY_MS, DELAY_MS_PER_ROW, ABORT}.isdisjoint(metadata)


class DelayRuntime:
    """Answers zeros of the signature's shapes: a first dimension of -1 has the inputs' rows, any other one element."""

    platform = "modelyard_delay"

    def __init__(self, signature: Signature, metadata: Mapping[str, str], factor: float = 1.0) -> None:
        """Read the delays, which are multiplied by `factor`.

        Raises:
            InvalidInputError: one is no number of milliseconds, 0 or more.
        """
        self.signature = signature
        self.labels: tuple[str, ...] = ()
        self._run_s = factor * _seconds(metadata, DELAY_MS)
        self._row_s = factor * _seconds(metadata, DELAY_MS_PER_ROW)
        self._aborts = metadata.get(ABORT) == "1"

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Occupy the device, then answer; see Runtime."""
        rows = _rows(inputs)
        with _device:
            if self._aborts and any(_has_nan(array) for array in inputs.values()):
                os.abort()
            time.sleep(self._run_s + rows * self._row_s)
        return {tensor.name: _zeros(tensor, rows) for tensor in self.signature.outputs if tensor.name in outputs}

    def close(self) -> None:
        """See Runtime."""


def _seconds(metadata: Mapping[str, str], key: str) -> float:
    text = metadata.get(key, "0")
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = math.nan
    if not 0 <= milliseconds < math.inf:
        raise InvalidInputError(f"{key}: expected milliseconds, 0 or more, got {text[:64]!r}")
    return milliseconds / 1e3


def _rows(inputs: dict[str, Array]) -> int:
    return next((array.shape[0] for array in inputs.values() if array.ndim), 1)


def _has_nan(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _zeros(tensor: TensorSpec, rows: int) -> Array:
    first, others = tensor.shape[:1], tensor.shape[1:]
    shape = (*(rows if size == -1 else size for size in first), *(1 if size == -1 else size for size in others))
    if tensor.datatype == "BYTES":
        return np.full(shape, "", object)
    return np.zeros(shape, DATATYPES[tensor.datatype].dtype)
