"""Executions on zeros, so that the first call does not wait for what an engine puts off until then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.catalogue import Signature
from modelyard.errors import InvalidInputError, ModelExecutionError
from modelyard.oip.datatypes import DATATYPES
from modelyard.oip.tensors import Array
from modelyard_worker.runtimes import Runtime


def warm_up(runtime: Runtime, batch_sizes: Sequence[int]) -> None:
    """Execute on zeros, once for each batch size.

    Raises:
        ModelExecutionError: the model failed.
    """
    names = [t.name for t in runtime.signature.outputs]
    for rows in batch_sizes:
        try:
            runtime.run(zeros(runtime.signature, rows), names)
        except (InvalidInputError, ModelExecutionError) as error:
            raise ModelExecutionError(f"warm-up with a batch of {rows}: {error.message}") from error


def zeros(signature: Signature, rows: int) -> dict[str, Array]:
    """Inputs of zeros, or of empty BYTES. A dynamic dimension is `rows` where it comes first, else 1."""
    return {t.name: _zeros(t.datatype, _shape(t.shape, rows)) for t in signature.inputs}


def _shape(shape: Sequence[int], rows: int) -> tuple[int, ...]:
    return tuple((rows if index == 0 else 1) if dim == -1 else dim for index, dim in enumerate(shape))


def _zeros(datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BYTES":
        return np.full(shape, b"", object)
    return np.zeros(shape, DATATYPES[datatype].dtype)
