"""What executes models: one small interface, one module for each engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from modelyard.catalogue import Signature
from modelyard.errors import InvalidInputError
from modelyard.oip.tensors import Array


class Runtime(Protocol):
    """A loaded model. Called from one thread at a time."""

    platform: str
    signature: Signature

    def run(self, inputs: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Execute on inputs that match the signature; return the outputs named.

        BYTES are arrays of `bytes`, BF16 arrays of uint16 bits.

        Raises:
            InvalidInputError: BYTES that are not UTF-8, where the engine knows only text.
            ModelExecutionError: the model failed.
        """
        ...


def load(format_name: str, directory: Path, threads: int) -> Runtime:
    """Load an artifact; raises whatever the engine raises."""
    if format_name != "onnx":
        raise InvalidInputError(f"format: expected onnx, got {format_name!r}")
    from modelyard_worker.runtimes.onnx import OnnxRuntime  # noqa: PLC0415 (an engine is imported where it is used)

    return OnnxRuntime(directory, threads)
